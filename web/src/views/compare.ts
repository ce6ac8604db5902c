// Compare: two runs of one shape, cell by cell and layer by layer.

import { percents, reals } from '../aligned';
import { type App, type Table, type View } from '../app';
import { colorTable } from '../color';
import { fill, h, select } from '../dom';
import { integer, percent, real, times } from '../format';
import { Legend } from '../legend';
import { Matrix } from '../matrix';
import { jensenShannon, spearman } from '../measures';
import { blockName, TileReader, valueOf, widest } from '../model';
import { ratioScale, showLegend } from '../scale';
import type { Run } from '../contract';

export class CompareView implements View {
  readonly name = 'compare';
  readonly title = 'Compare';
  readonly element: HTMLElement;
  readonly matrix: Matrix;
  private legend = new Legend();
  private pickers = h('span', { class: 'toolbar' });
  private body = h('tbody', null);
  private caption = h('p', { class: 'caption' });
  private overlaps: number[] = [];

  constructor(private app: App) {
    this.matrix = new Matrix({
      label: 'Ratio of the shares of two runs',
      xTitle: 'expert →',
      yTitle: 'layer ↓',
      rowLabel: (r) => String(this.runs[0].blocks[r]?.layer ?? ''),
      colLabel: String,
      tip: ({ col, row }) => {
        const [x, y] = this.shares(row, col);
        const [ra, rb] = this.runs;
        return {
          title: `${blockName(ra.blocks[row]!)}, expert ${col}`,
          rows: [
            [ra.label, percent(x)],
            [rb.label, percent(y)],
            ['ratio', times(y / x)],
          ],
        };
      },
      onselect: ({ col, row }) => app.store.set({ block: row, expert: col }),
    });
    this.element = h(
      'section',
      { class: 'card' },
      h('div', { class: 'toolbar' }, this.pickers, this.legend.element),
      this.matrix.element,
      this.caption,
      h(
        'div',
        { class: 'scroll-x' },
        h(
          'table',
          null,
          h(
            'thead',
            null,
            h('tr', null, ...['Layer', 'Overlap', 'Rank correlation', 'Distance'].map((t) => h('th', null, t))),
          ),
          this.body,
        ),
      ),
    );
  }

  // Of the two that are compared, as indices.
  private get pair(): [number, number] {
    const { page, store } = this.app;
    const chosen = (name: string, first: number) => {
      const i = Number(store.option('compare', name) ?? first + 1) - 1;
      return page.runs[i] ? i : first;
    };
    return [chosen('from', 0), chosen('to', 1)];
  }
  private get runs(): [Run, Run] {
    const [a, b] = this.pair;
    return [this.app.page.runs[a]!, this.app.page.runs[b]!];
  }
  private shares(row: number, expert: number): [number, number] {
    const [a, b] = this.runs;
    return [valueOf(a, a.blocks[row]!, expert, 'share', 'all'), valueOf(b, b.blocks[row]!, expert, 'share', 'all')];
  }

  update(changed: ReadonlySet<string> | 'all'): void {
    if (changed === 'all' || ['theme', 'run', 'options'].some((k) => changed.has(k))) this.draw();
    const { block, expert } = this.app.store.now;
    this.matrix.mark(expert === null ? [] : [{ col: expert, row: block }]);
  }
  resize(): void {
    this.matrix.layout();
  }

  // Rank correlation, distance and overlap of a block.
  measures(row: number): { overlap: number; rank: number; distance: number } {
    const [a, b] = this.runs;
    const of = (r: Run) =>
      r.cells.count.subarray(r.blocks[row]!.first_cell, r.blocks[row]!.first_cell + r.blocks[row]!.n_expert);
    return { overlap: this.overlaps[row] ?? NaN, rank: spearman(of(a), of(b)), distance: jensenShannon(of(a), of(b)) };
  }

  // Mean |A ∩ B| / k per block over the tokens at hand, where both runs read the same ones.
  private findOverlaps(): string {
    const [a, b] = this.runs;
    const n = Math.min(a.tile.n, b.tile.n);
    this.overlaps = [];
    for (let i = 0; i < n; i++)
      if (a.tile.token[i] !== b.tile.token[i] || a.tile.token[i]! < 0)
        return 'The runs read different tokens, so their selections have no overlap to measure.';
    if (n === 0 || a.tokens !== b.tokens)
      return 'The runs read different tokens, so their selections have no overlap to measure.';
    const ra = new TileReader(a.tile, a);
    const rb = new TileReader(b.tile, b);
    a.blocks.forEach((block, row) => {
      let common = 0;
      let rows = 0;
      for (let i = 0; i < n; i++) {
        const x = ra.selections(i, row);
        const y = new Set(rb.selections(i, row).map((s) => s.expert));
        if (x.length === 0 || y.size === 0) continue;
        rows++;
        common += x.reduce((s, v) => s + (y.has(v.expert) ? 1 : 0), 0);
      }
      this.overlaps.push(rows > 0 ? common / (rows * block.n_expert_used) : NaN);
    });
    return `Overlap: share of experts in common, mean over ${integer(n)} tokens.`;
  }

  table(): Table {
    const [a, b] = this.runs;
    return {
      columns: ['layer', 'block', 'expert', `share ${a.label}`, `share ${b.label}`, 'ratio'],
      rows: a.blocks.flatMap((block, row) =>
        Array.from({ length: block.n_expert }, (_, e) => {
          const [x, y] = this.shares(row, e);
          return [block.layer, block.block, e, x, y, x > 0 ? y / x : NaN];
        }),
      ),
    };
  }

  private draw(): void {
    const { page, store } = this.app;
    const options = page.runs.map((r, i) => ({ value: i, label: r.label }));
    const picker = (label: string, name: string, at: number) => {
      const e = select(label, options, (i) => store.choose('compare', name, i + 1));
      e.selectedIndex = at;
      return e;
    };
    const [first, second] = this.pair;
    fill(
      this.pickers,
      picker('First run', 'from', first),
      h('span', { class: 'quiet' }, '→'),
      picker('Second run', 'to', second),
    );
    const [a] = this.runs;
    const cols = widest(a);
    const rows = a.blocks.length;
    const values = new Float64Array(cols * rows).fill(NaN);
    a.blocks.forEach((block, row) => {
      for (let e = 0; e < block.n_expert; e++) {
        const [x, y] = this.shares(row, e);
        values[row * cols + e] = x === 0 && y === 0 ? NaN : x === 0 ? Infinity : y === 0 ? 0 : y / x;
      }
    });
    const scale = ratioScale(values);
    this.matrix.setCells(scale.index(values), cols, rows);
    this.matrix.setColors(colorTable(store.now.theme, 'balance'));
    showLegend(this.legend, store.now.theme, scale, real, 'in neither', 'equal');
    this.matrix.layout();
    this.caption.textContent =
      'Each cell: the second run’s share divided by the first’s. The scale reaches as far as the ratios do. ' +
      this.findOverlaps();
    const all = a.blocks.map((_, row) => this.measures(row));
    const overlap = percents(all.map((m) => m.overlap));
    const rank = reals(all.map((m) => m.rank));
    const distance = reals(all.map((m) => m.distance));
    fill(
      this.body,
      ...a.blocks.map((block, row) => {
        const m = all[row]!;
        return h(
          'tr',
          { tabindex: 0, onclick: () => store.set({ block: row, expert: null }) },
          h('td', null, String(block.layer)),
          h('td', null, overlap(m.overlap)),
          h('td', null, rank(m.rank)),
          h('td', null, distance(m.distance)),
        );
      }),
    );
  }
}
