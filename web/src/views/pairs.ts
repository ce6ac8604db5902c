// Pairs: which experts of a layer are selected together.

import { ratios } from '../aligned';
import { runOf, type App, type Table, type View } from '../app';
import type { Numbers } from '../bundle';
import { colorTable } from '../color';
import { fill, h, Segments } from '../dom';
import { integer, percent, times } from '../format';
import { Legend } from '../legend';
import { Matrix, type Cell } from '../matrix';
import { expertOrder, isProfile, pairCount } from '../model';
import { balanceScale, heatScale, largest, showLegend } from '../scale';
import type { Sort } from '../state';
import { layerPicker, orderControl } from './controls';

type Measure = 'conditional' | 'lift';
const fewest = 10; // rows together, from which a lift is listed

export class PairsView implements View {
  readonly name = 'pairs';
  readonly title = 'Pairs';
  readonly element: HTMLElement;
  readonly matrix: Matrix;
  private legend = new Legend();
  private layer = h('span', null);
  private measure: Segments<Measure>;
  private sort: Segments<Sort>;
  private list = h('tbody', null);
  private body = h('div', { class: 'pairs-body' });
  private empty = h('p', { class: 'empty' });
  private order: number[] = [];
  private triangle: Numbers | null = null;

  constructor(private app: App) {
    this.measure = new Segments(
      'Measure',
      [
        {
          value: 'conditional',
          label: 'P(column | row)',
          title: 'Of the rows that selected the row’s expert, how many also selected the column’s',
        },
        { value: 'lift', label: 'Lift', title: 'How many times as often as if the two were independent' },
      ],
      (m) => app.store.choose('pairs', 'measure', m === 'conditional' ? null : m),
    );
    this.sort = orderControl(app);
    this.matrix = new Matrix({
      label: 'Pairs of experts',
      xTitle: 'expert →',
      yTitle: 'expert ↓',
      square: true,
      cellHeight: [2, 24],
      rowLabel: (r) => String(this.order[r] ?? ''),
      colLabel: (c) => String(this.order[c] ?? ''),
      tip: (cell) => this.tip(cell),
      onselect: ({ row }) => app.store.set({ expert: this.order[row]! }),
    });
    this.body.append(
      this.matrix.element,
      h(
        'div',
        null,
        h('h4', null, 'Strongest pairs by lift'),
        h(
          'table',
          null,
          h('thead', null, h('tr', null, ...['Pair', 'Together', 'Lift'].map((t) => h('th', null, t)))),
          this.list,
        ),
      ),
    );
    this.element = h(
      'section',
      { class: 'card' },
      h('div', { class: 'toolbar' }, this.layer, this.measure.element, this.sort.element, this.legend.element),
      this.body,
      this.empty,
    );
  }

  private get mode(): Measure {
    return this.app.store.option('pairs', 'measure') === 'lift' ? 'lift' : 'conditional';
  }
  update(changed: ReadonlySet<string> | 'all'): void {
    const touches = (...keys: string[]) => changed === 'all' || keys.some((k) => changed.has(k));
    if (touches('run', 'block')) void this.load();
    else if (touches('theme', 'sort', 'options')) this.draw();
    this.mark();
  }
  resize(): void {
    this.matrix.layout();
  }

  private async load(): Promise<void> {
    const { block } = this.app.store.now;
    const run = runOf(this.app);
    this.triangle = run.pairs.count[block] ?? null;
    if (!this.triangle && this.app.source.served && !run.source.counts_only) {
      this.triangle = run.pairs.count[block] = await this.app.source.pairs(run.number, block);
    }
    if (this.app.store.now.block === block) this.draw();
  }

  // P(b|a) and lift of a pair.
  of(a: number, b: number): { together: number; conditional: number; lift: number } {
    const run = runOf(this.app);
    const block = run.blocks[this.app.store.now.block]!;
    const na = run.cells.count[block.first_cell + a]!;
    const nb = run.cells.count[block.first_cell + b]!;
    const together = a === b ? na : pairCount(this.triangle!, block.n_expert, a, b);
    return {
      together,
      conditional: na > 0 ? together / na : NaN,
      lift: na > 0 && nb > 0 ? (together * block.rows) / (na * nb) : NaN,
    };
  }

  private draw(): void {
    const run = runOf(this.app);
    const { block, theme, sort } = this.app.store.now;
    const b = run.blocks[block]!;
    fill(this.layer, layerPicker(this.app));
    this.body.hidden = this.triangle === null;
    this.empty.hidden = this.triangle !== null;
    this.empty.textContent = run.source.counts_only
      ? isProfile(run)
        ? 'This profile holds no pairs (profile --sums all keeps them).'
        : 'This trace holds only counts, no pairs.'
      : 'This model has too many pairs for one page; moescope serve shows them.';
    this.sort.set(sort);
    this.measure.set(this.mode);
    if (!this.triangle) return;
    const n = b.n_expert;
    this.order = expertOrder(run, block, sort, run.cells.count.subarray(b.first_cell, b.first_cell + n));
    const values = new Float64Array(n * n).fill(NaN);
    for (let r = 0; r < n; r++)
      for (let c = 0; c < n; c++) if (r !== c) values[r * n + c] = this.of(this.order[r]!, this.order[c]!)[this.mode];
    const scale = this.mode === 'lift' ? balanceScale() : heatScale(largest(values) || 1);
    this.matrix.setCells(scale.index(values), n, n);
    this.matrix.setColors(colorTable(theme, scale.map));
    this.matrix.layout();
    showLegend(this.legend, theme, scale, percent, 'never together');
    this.writeList(n);
    this.mark();
  }

  table(): Table {
    const { block } = this.app.store.now;
    const b = runOf(this.app).blocks[block]!;
    const rows: number[][] = [];
    for (let x = 0; this.triangle && x < b.n_expert; x++)
      for (let y = x + 1; y < b.n_expert; y++) {
        const p = this.of(x, y);
        rows.push([b.layer, b.block, x, y, p.together, p.conditional, this.of(y, x).conditional, p.lift]);
      }
    return { columns: ['layer', 'block', 'a', 'b', 'together', 'p_b_given_a', 'p_a_given_b', 'lift'], rows };
  }

  private writeList(n: number): void {
    const pairs: { a: number; b: number; together: number; lift: number }[] = [];
    for (let a = 0; a < n; a++)
      for (let b = a + 1; b < n; b++) {
        const p = this.of(a, b);
        if (p.together >= fewest) pairs.push({ a, b, together: p.together, lift: p.lift });
      }
    pairs.sort((x, y) => y.lift - x.lift);
    fill(
      this.list,
      ...pairs
        .slice(0, 16)
        .map((p) =>
          h(
            'tr',
            { tabindex: 0, onclick: () => this.app.store.set({ expert: p.a }) },
            h('td', null, `${p.a} + ${p.b}`),
            h('td', null, integer(p.together)),
            h('td', null, ratios(p.lift)),
          ),
        ),
    );
  }

  private mark(): void {
    const { expert } = this.app.store.now;
    const at = expert === null ? -1 : this.order.indexOf(expert);
    this.matrix.mark(at < 0 ? [] : [{ col: at, row: at }]);
  }
  private tip(cell: Cell): { title: string; rows: [string, string][] } {
    const a = this.order[cell.row]!;
    const b = this.order[cell.col]!;
    const p = this.of(a, b);
    if (a === b) return { title: `expert ${a}`, rows: [['selections', integer(p.together)]] };
    return {
      title: `experts ${a} and ${b}`,
      rows: [
        ['together', integer(p.together)],
        [`P(${b} | ${a})`, percent(p.conditional)],
        [`P(${a} | ${b})`, percent(this.of(b, a).conditional)],
        ['lift', times(p.lift)],
      ],
    };
  }
}
