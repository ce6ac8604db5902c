// Layers × experts: one row per MoE block, one cell per expert.

import { runOf, type App, type Table, type View } from '../app';
import { colorTable } from '../color';
import { fill, h, Segments } from '../dom';
import { compact, integer, percent, real, times } from '../format';
import { Legend } from '../legend';
import { Matrix, type Cell } from '../matrix';
import {
  availableMetrics,
  balanceOf,
  blockName,
  chanceOf,
  countOf,
  expertOrder,
  hasPairs,
  metrics,
  rowsOf,
  valueOf,
  valuesOf,
  widest,
} from '../model';
import { balanceScale, heatScale, largest, metricText, showLegend } from '../scale';
import type { Metric, Phase, Sort } from '../state';
import type { TipRows } from '../tooltip';

export class ExpertsView implements View {
  readonly name = 'experts';
  readonly title = 'Experts';
  readonly element: HTMLElement;
  readonly matrix: Matrix;
  private legend = new Legend();
  private metric: Segments<Metric>;
  private relative: Segments<string>;
  private sort: Segments<Sort>;
  private phase: Segments<Phase>;
  private caption = h('p', { class: 'caption' });
  private orders: number[][] = []; // [block][rank] expert
  private places: number[][] = []; // [block][expert] rank

  constructor(private app: App) {
    const { store } = app;
    this.metric = new Segments('Metric', [], (metric) => store.set({ metric }));
    this.relative = new Segments(
      'Scale',
      [
        { value: 'relative', label: 'Against balance', title: 'Ratio to what a balanced expert would have' },
        { value: 'absolute', label: 'Absolute' },
      ],
      (v) => store.set({ relative: v === 'relative' }),
    );
    this.sort = new Segments('Order of experts', [], (sort) => store.set({ sort }));
    this.phase = new Segments(
      'Tokens',
      [
        { value: 'all', label: 'All' },
        { value: 'prefill', label: 'Prompt' },
        { value: 'decode', label: 'Generated' },
      ],
      (phase) => store.set({ phase }),
    );
    this.matrix = new Matrix({
      label: 'Layers by experts',
      xTitle: 'expert →',
      yTitle: 'layer ↓',
      rowLabel: (row) => {
        const b = runOf(app).blocks[row];
        return b ? `${b.layer}${b.block ? '′' : ''}` : '';
      },
      colLabel: (col) => (store.now.sort === 'id' ? String(col) : `#${col + 1}`),
      tip: (cell) => this.tip(cell),
      cellText: (cell) => this.text(cell),
      onselect: (cell) => this.pick(cell),
      onopen: () => app.go('tokens'),
      gutter: {
        width: 74,
        title: 'evenness',
        value: (row) => runOf(app).blocks[row]?.entropy ?? 0,
        mark: (row) => chanceOf(runOf(app).blocks[row]!).entropy,
      },
    });
    this.element = h(
      'section',
      { class: 'card' },
      h(
        'div',
        { class: 'toolbar' },
        this.metric.element,
        this.relative.element,
        this.sort.element,
        this.phase.element,
        this.legend.element,
      ),
      this.matrix.element,
      this.caption,
    );
  }

  update(changed: ReadonlySet<string> | 'all'): void {
    const touches = (...keys: string[]) => changed === 'all' || keys.some((k) => changed.has(k));
    if (touches('run')) this.offer();
    if (touches('run', 'metric', 'relative', 'sort', 'phase')) this.recompute();
    if (touches('run', 'metric', 'relative', 'sort', 'phase', 'theme')) this.recolor();
    if (changed === 'all') this.matrix.layout();
    this.mark();
  }
  resize(): void {
    this.matrix.layout();
  }

  private offer(): void {
    const run = runOf(this.app);
    this.metric.rebuild(
      availableMetrics(run).map((m) => ({ value: m, label: metrics[m].name, title: metrics[m].what })),
    );
    this.sort.rebuild([
      { value: 'id', label: 'By id' },
      { value: 'heat', label: 'By heat', title: 'Each layer’s experts from hottest to coldest' },
      {
        value: 'similarity',
        label: 'By similarity',
        title: hasPairs(run)
          ? 'Experts that are selected together are next to each other'
          : 'Needs co-selections, which this page does not hold',
        disabled: !hasPairs(run),
      },
    ]);
    this.phase.element.hidden = run.cells.count_decoded === null || run.decoded === 0 || run.decoded === run.tokens;
  }

  private recompute(): void {
    const run = runOf(this.app);
    const { metric, relative, sort, phase } = this.app.store.now;
    const cols = widest(run);
    const rows = run.blocks.length;
    const values = new Float64Array(cols * rows).fill(NaN);
    this.orders = [];
    this.places = [];
    run.blocks.forEach((b, row) => {
      const v = valuesOf(run, b, metric, phase, relative);
      const order = expertOrder(run, row, sort, v);
      const place = new Array<number>(b.n_expert);
      order.forEach((expert, rank) => {
        place[expert] = rank;
        values[row * cols + rank] = v[expert]!;
      });
      this.orders.push(order);
      this.places.push(place);
    });
    this.scale = relative ? balanceScale() : heatScale(largest(values));
    this.matrix.setCells(this.scale.index(values), cols, rows);
    const info = metrics[metric];
    this.matrix.setLabel(`${info.name} of ${cols} experts in ${rows} layers. Arrow keys move, Enter opens the tokens.`);
    fill(
      this.caption,
      relative ? `Each cell: ${info.what}, divided by ${info.relativeTo}.` : `Each cell: ${info.what}.`,
      ' “Evenness” is the normalised entropy of a layer’s selections: a full bar is perfect balance. The line in it is what ' +
        'random routing of as many rows shows.',
    );
  }
  private scale = heatScale(1);

  private recolor(): void {
    const { theme, metric, relative } = this.app.store.now;
    this.matrix.setColors(colorTable(theme, this.scale.map));
    showLegend(this.legend, theme, this.scale, (v) => metricText(metric, v), 'never selected');
    this.metric.set(metric);
    this.relative.set(relative ? 'relative' : 'absolute');
    this.sort.set(this.app.store.now.sort);
    this.phase.set(this.app.store.now.phase);
    this.matrix.redraw();
  }

  private mark(): void {
    const { block, expert } = this.app.store.now;
    const rank = expert === null ? undefined : this.places[block]?.[expert];
    this.matrix.mark(rank === undefined ? [] : [{ col: rank, row: block }]);
  }

  private expertAt(cell: Cell): number | undefined {
    return this.orders[cell.row]?.[cell.col];
  }
  private pick(cell: Cell): void {
    const expert = this.expertAt(cell);
    if (expert === undefined) return;
    this.app.store.set({ block: cell.row, expert });
    const { title, rows } = this.tip(cell);
    this.app.say(title + ': ' + rows.map(([k, v]) => `${k} ${v}`).join(', '));
  }

  table(): Table {
    const run = runOf(this.app);
    const { phase } = this.app.store.now;
    const known = availableMetrics(run);
    return {
      columns: ['layer', 'block', 'expert', ...known, 'against_balance'],
      rows: run.blocks.flatMap((b) =>
        Array.from({ length: b.n_expert }, (_, e) => [
          b.layer,
          b.block,
          e,
          ...known.map((m) => valueOf(run, b, e, m, phase)),
          valueOf(run, b, e, 'share', phase) * b.n_expert,
        ]),
      ),
    };
  }

  private text(cell: Cell): string {
    const run = runOf(this.app);
    const expert = this.expertAt(cell);
    const { metric, relative, phase } = this.app.store.now;
    if (expert === undefined) return '';
    const b = run.blocks[cell.row]!;
    const v = valueOf(run, b, expert, metric, phase);
    if (Number.isNaN(v) || v === 0) return '';
    return relative
      ? times(v / balanceOf(run, b, metric, phase)).replace('×', '')
      : metric === 'share'
        ? (v * 100).toFixed(1)
        : metricText(metric, v);
  }

  private tip(cell: Cell): { title: string; rows: TipRows } {
    const run = runOf(this.app);
    const b = run.blocks[cell.row]!;
    const expert = this.expertAt(cell);
    const phase = this.app.store.now.phase;
    if (expert === undefined) return { title: `${blockName(b)} has ${b.n_expert} experts`, rows: [] };
    const rows: TipRows = [];
    const count = countOf(run, b.first_cell + expert, phase);
    const share = valueOf(run, b, expert, 'share', phase);
    rows.push(
      ['selections', integer(count)],
      ['share', percent(share)],
      ['against balance', times(share * b.n_expert)],
    );
    rows.push(['rows of the layer', compact(rowsOf(run, b, phase))]);
    for (const m of availableMetrics(run)) {
      if (m === 'count' || m === 'share') continue;
      const v = valueOf(run, b, expert, m, phase);
      rows.push([
        metrics[m].name.toLowerCase().replace('reap', 'REAP').replace('ean', 'EAN').replace('mEAN', 'mean'),
        m === 'accesses' ? integer(v) : real(v),
      ]);
    }
    return { title: `${blockName(b)}, expert ${expert}`, rows };
  }
}
