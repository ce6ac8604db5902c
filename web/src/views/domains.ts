// Domains: several traces side by side, one per domain. How often each expert is taken in each of them, and how far the
// domains are from each other.

import { runOf, type App, type View } from '../app';
import { colorTable } from '../color';
import { fill, h, Segments, select } from '../dom';
import { integer, percent, real, times } from '../format';
import { Legend } from '../legend';
import { Matrix } from '../matrix';
import { jensenShannon } from '../measures';
import { blockName, expertOrder, valueOf } from '../model';
import { balanceScale, heatScale, largest, showLegend } from '../scale';
import type { Sort } from '../state';
import type { Run } from '../contract';

// Runs whose blocks are the same as those of run 0: what can be compared cell by cell.
export function sameShape(runs: Run[]): boolean {
  const shape = (r: Run) => r.blocks.map((b) => `${b.layer}.${b.block}:${b.n_expert}/${b.n_expert_used}`).join();
  return runs.length > 1 && runs.every((r) => shape(r) === shape(runs[0]!));
}

const short = (label: string) => (label.length > 7 ? label.slice(0, 6) + '…' : label);

export class DomainsView implements View {
  readonly name = 'domains';
  readonly title = 'Domains';
  readonly element: HTMLElement;
  readonly matrix: Matrix;
  readonly distances: Matrix;
  private legend = new Legend();
  private distanceLegend = new Legend();
  private layer = h('span', null);
  private relative: Segments<string>;
  private sort: Segments<Sort>;
  private tops = h('div', { class: 'domain-tops' });
  private order: number[] = [];

  constructor(private app: App) {
    const { store } = app, runs = app.page.runs;
    this.relative = new Segments('Scale', [{ value: 'absolute', label: 'Share' }, { value: 'relative', label: 'Against balance' }], (v) => store.set({ relative: v === 'relative' }));
    this.sort = new Segments('Order of experts', [{ value: 'id', label: 'By id' }, { value: 'heat', label: 'By heat' }, { value: 'similarity', label: 'By similarity' }], (sort) => store.set({ sort }));
    const tip = (run: number, expert: number) => {
      const r = runs[run]!, b = r.blocks[store.now.block]!, share = valueOf(r, b, expert, 'share', 'all');
      return { title: `${r.label}, expert ${expert}`, rows: [['selections', integer(r.cells.count[b.first_cell + expert]!)], ['of rows', percent(share * b.n_expert_used)], ['share', percent(share)], ['against balance', times(share * b.n_expert)]] as [string, string][] };
    };
    this.matrix = new Matrix({
      label: 'Domains by experts', xTitle: 'expert →', yTitle: 'domain ↓', cellHeight: [18, 44],
      rowLabel: (r) => short(runs[r]!.label), colLabel: (c) => String(this.order[c] ?? ''), tip: ({ col, row }) => tip(row, this.order[col]!),
      onselect: ({ col, row }) => store.set({ run: row, expert: this.order[col]! }),
    });
    this.distances = new Matrix({
      label: 'Distance between domains', xTitle: '', yTitle: '', square: true, cellHeight: [20, 56],
      rowLabel: (r) => short(runs[r]!.label), colLabel: (c) => short(runs[c]!.label), cellText: ({ col, row }) => (col === row ? '' : this.distance(row, col).toFixed(2)),
      tip: ({ col, row }) => ({ title: `${runs[row]!.label} – ${runs[col]!.label}`, rows: [['Jensen–Shannon distance', real(this.distance(row, col))], ['over all layers', real(this.meanDistance(row, col))]] }),
      onselect: ({ row }) => store.set({ run: row }),
    });
    this.element = h('section', { class: 'card' },
      h('div', { class: 'toolbar' }, this.layer, this.relative.element, this.sort.element, this.legend.element), this.matrix.element,
      h('div', { class: 'domains-body' }, h('div', null, h('div', { class: 'toolbar' }, h('h4', null, 'Distance between domains'), this.distanceLegend.element), this.distances.element), h('div', null, h('h4', null, 'Most special experts of this layer'), this.tops)));
  }

  update(changed: ReadonlySet<string> | 'all'): void {
    if (changed === 'all' || ['run', 'block', 'theme', 'relative', 'sort'].some((k) => changed.has(k))) this.draw();
    const { expert, run } = this.app.store.now;
    this.matrix.mark(expert === null ? [] : [{ col: this.order.indexOf(expert), row: run }]);
  }
  resize(): void {
    this.matrix.layout();
    this.distances.layout();
  }

  // Of the selected layer; 0 is the same distribution, 1 has no expert in common.
  distance(a: number, b: number, block = this.app.store.now.block): number {
    const counts = (i: number) => { const r = this.app.page.runs[i]!, x = r.blocks[block]!; return r.cells.count.subarray(x.first_cell, x.first_cell + x.n_expert); };
    return a === b ? 0 : jensenShannon(counts(a), counts(b));
  }
  private meanDistance(a: number, b: number): number {
    const n = runOf(this.app).blocks.length;
    let sum = 0;
    for (let i = 0; i < n; i++) sum += this.distance(a, b, i);
    return sum / n;
  }

  private draw(): void {
    const { page, store } = this.app, { block, theme, relative, sort } = store.now, runs = page.runs, n = runs[0]!.blocks[block]!.n_expert;
    const picker = select('Layer', runs[0]!.blocks.map((x, i) => ({ value: i, label: blockName(x) })), (i) => store.set({ block: i, expert: null }));
    picker.selectedIndex = block;
    fill(this.layer, picker);
    this.relative.set(relative ? 'relative' : 'absolute');
    this.sort.set(sort);
    const share = (run: number, e: number) => valueOf(runs[run]!, runs[run]!.blocks[block]!, e, 'share', 'all');
    const total = Float64Array.from({ length: n }, (_, e) => runs.reduce((s, _r, i) => s + (share(i, e) || 0), 0));
    this.order = expertOrder(runOf(this.app), block, sort, total);
    const values = Float64Array.from({ length: n * runs.length }, (_, i) => share(Math.floor(i / n), this.order[i % n]!) * (relative ? n : 1));
    const scale = relative ? balanceScale() : heatScale(largest(values) || 1);
    this.matrix.setCells(scale.index(values), n, runs.length);
    this.matrix.setColors(colorTable(theme, scale.map));
    showLegend(this.legend, theme, scale, percent, 'never selected');
    const pairs = Float64Array.from({ length: runs.length ** 2 }, (_, i) => { const a = Math.floor(i / runs.length), b = i % runs.length; return a === b ? NaN : this.distance(a, b); });
    const far = heatScale(1);
    this.distances.setCells(far.index(pairs), runs.length, runs.length);
    this.distances.setColors(colorTable(theme, 'heat'));
    showLegend(this.distanceLegend, theme, far, real, null);
    this.resize();
    fill(this.tops, ...runs.map((r, i) => {
      const others = (e: number) => runs.reduce((s, _r, j) => s + (j === i ? 0 : share(j, e) || 0), 0) / Math.max(1, runs.length - 1);
      const top = Array.from({ length: n }, (_, e) => e).sort((x, y) => share(i, y) - others(y) - (share(i, x) - others(x))).slice(0, 5);
      return h('div', null, h('b', null, r.label), h('div', { class: 'chips' }, ...top.map((e) =>
        h('button', { type: 'button', class: 'chip', title: `elsewhere ${percent(others(e))}`, onclick: () => store.set({ run: i, expert: e }) }, h('b', null, String(e)), h('span', null, percent(share(i, e)))))));
    }));
  }
}
