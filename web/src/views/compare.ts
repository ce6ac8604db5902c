// Compare: two runs of one shape, cell by cell and layer by layer.

import { type App, type View } from '../app';
import { colorTable } from '../color';
import { fill, h, select } from '../dom';
import { integer, percent, real, times } from '../format';
import { Legend } from '../legend';
import { Matrix } from '../matrix';
import { jensenShannon, spearman } from '../measures';
import { blockName, TileReader, valueOf, widest } from '../model';
import { balanceScale, showLegend } from '../scale';
import type { Run } from '../contract';

export class CompareView implements View {
  readonly name = 'compare';
  readonly title = 'Compare';
  readonly element: HTMLElement;
  readonly matrix: Matrix;
  private legend = new Legend();
  private pickers = h('span', { class: 'toolbar' });
  private table = h('tbody', null);
  private caption = h('p', { class: 'caption' });
  private a = 0;
  private b = 1;
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
          this.table,
        ),
      ),
    );
  }

  private get runs(): [Run, Run] {
    return [this.app.page.runs[this.a]!, this.app.page.runs[this.b]!];
  }
  private shares(row: number, expert: number): [number, number] {
    const [a, b] = this.runs;
    return [valueOf(a, a.blocks[row]!, expert, 'share', 'all'), valueOf(b, b.blocks[row]!, expert, 'share', 'all')];
  }

  update(changed: ReadonlySet<string> | 'all'): void {
    if (changed === 'all' || changed.has('theme')) this.draw();
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

  private draw(): void {
    const { page, store } = this.app;
    const options = page.runs.map((r, i) => ({ value: i, label: r.label }));
    const picker = (name: string, at: number, set: (i: number) => void) => {
      const e = select(name, options, (i) => {
        set(i);
        this.draw();
      });
      e.selectedIndex = at;
      return e;
    };
    fill(
      this.pickers,
      picker('First run', this.a, (i) => {
        this.a = i;
      }),
      h('span', { class: 'quiet' }, '→'),
      picker('Second run', this.b, (i) => {
        this.b = i;
      }),
    );
    const [a] = this.runs;
    const cols = widest(a);
    const rows = a.blocks.length;
    const values = new Float64Array(cols * rows).fill(NaN);
    a.blocks.forEach((block, row) => {
      for (let e = 0; e < block.n_expert; e++) {
        const [x, y] = this.shares(row, e);
        values[row * cols + e] = x === 0 && y === 0 ? NaN : x === 0 ? 64 : y === 0 ? 1 / 64 : y / x;
      }
    });
    const scale = balanceScale();
    this.matrix.setCells(scale.index(values), cols, rows);
    this.matrix.setColors(colorTable(store.now.theme, 'balance'));
    showLegend(this.legend, store.now.theme, scale, real, 'in neither', 'equal');
    this.matrix.layout();
    this.caption.textContent = 'Each cell: the second run’s share divided by the first’s. ' + this.findOverlaps();
    fill(
      this.table,
      ...a.blocks.map((block, row) => {
        const m = this.measures(row);
        return h(
          'tr',
          { tabindex: 0, onclick: () => store.set({ block: row, expert: null }) },
          h('td', null, String(block.layer)),
          h('td', null, percent(m.overlap)),
          h('td', null, real(m.rank)),
          h('td', null, real(m.distance)),
        );
      }),
    );
  }
}
