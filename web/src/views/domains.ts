// Domains: how often each expert is taken in each domain, and how far the domains are from each other. A domain is one
// label of the prompts of a trace (run --label-key), or one of several traces.

import { runOf, type App, type Table, type View } from '../app';
import { distanceByChance } from '../chance';
import { colorTable } from '../color';
import { fill, h, Segments } from '../dom';
import { integer, percent, real, times } from '../format';
import { Legend } from '../legend';
import { Matrix } from '../matrix';
import { jensenShannon } from '../measures';
import { expertOrder, repeatsIds, sameShape } from '../model';
import { balanceScale, heatScale, largest, showLegend } from '../scale';
import type { Sort } from '../state';
import type { Numbers } from '../bundle';
import { layerPicker, orderControl } from './controls';
import { LabelTable, type Side } from './label_table';

type Kind = 'label' | 'trace';
const short = (label: string) => (label.length > 13 ? label.slice(0, 12) + '…' : label);

export class DomainsView implements View {
  readonly name = 'domains';
  readonly title = 'Domains';
  readonly element: HTMLElement;
  readonly matrix: Matrix;
  readonly distances: Matrix;
  private legend = new Legend();
  private distanceLegend = new Legend();
  private layer = h('span', null);
  private kinds: Segments<Kind>;
  private relative: Segments<string>;
  private sort: Segments<Sort>;
  private labels = new LabelTable((domain, block, expert) => {
    this.app.store.set({ block });
    this.choose(domain, expert);
  });
  private tops = h('div', { class: 'domain-tops' });
  private body = h('div', { class: 'card-body' });
  private empty = h(
    'p',
    { class: 'empty' },
    'The prompts of this trace have no labels (record them with run --jsonl … --label-key KEY).',
  );
  private sides: Side[] = [];
  private chosen = 0; // domain of the last click
  private order: number[] = [];

  constructor(private app: App) {
    const { store } = app;
    this.kinds = new Segments<Kind>(
      'Domains',
      [
        { value: 'label', label: 'By label' },
        { value: 'trace', label: 'By trace' },
      ],
      (kind) => app.store.choose('domains', 'by', kind === 'label' ? null : kind),
    );
    this.relative = new Segments(
      'Scale',
      [
        { value: 'relative', label: 'Against balance' },
        { value: 'absolute', label: 'Share' },
      ],
      (v) => store.set({ relative: v === 'relative' }),
    );
    this.sort = orderControl(app);
    this.matrix = this.makeMatrix();
    this.distances = this.makeDistances();
    this.body.append(
      h(
        'div',
        { class: 'toolbar' },
        this.kinds.element,
        this.layer,
        this.relative.element,
        this.sort.element,
        this.legend.element,
      ),
      this.matrix.element,
      h(
        'div',
        { class: 'domains-body' },
        h(
          'div',
          null,
          h('div', { class: 'toolbar' }, h('h4', null, 'Distance between domains'), this.distanceLegend.element),
          this.distances.element,
          h(
            'p',
            { class: 'caption' },
            'Jensen–Shannon: 0 is the same distribution, 1 has no expert in common. Chance: what as many rows of one ' +
              'routing show.',
          ),
        ),
        h('div', null, h('h4', null, 'Most specialised experts of this layer'), this.tops),
      ),
      h('h4', null, 'Domains, and the expert of all layers that each uses most above the others'),
      this.labels.element,
    );
    this.element = h('section', { class: 'card' }, this.body, this.empty);
  }

  private makeMatrix(): Matrix {
    return new Matrix({
      label: 'Domains by experts',
      xTitle: 'expert →',
      yTitle: 'domain ↓',
      cellHeight: [18, 44],
      labelWidth: 84,
      rowLabel: (r) => short(this.sides[r]?.label ?? ''),
      colLabel: (c) => String(this.order[c] ?? ''),
      tip: ({ col, row }) => this.tip(row, this.order[col]!),
      onselect: ({ col, row }) => this.choose(row, this.order[col]!),
    });
  }
  private makeDistances(): Matrix {
    return new Matrix({
      label: 'Distance between domains',
      xTitle: '',
      yTitle: '',
      square: true,
      cellHeight: [20, 84],
      labelWidth: 84,
      rowLabel: (r) => short(this.sides[r]?.label ?? ''),
      colLabel: (c) => short(this.sides[c]?.label ?? ''),
      cellText: ({ col, row }) => (col === row ? '' : this.distance(row, col).toFixed(2)),
      cellNote: ({ col, row }) => (col === row ? '' : `chance ${this.chance(row, col).toFixed(2)}`),
      tip: ({ col, row }) => ({
        title: `${this.sides[row]!.label} – ${this.sides[col]!.label}`,
        rows: [
          ['Jensen–Shannon distance', real(this.distance(row, col))],
          ['chance', col === row ? '–' : real(this.chance(row, col))],
          ['over all layers', real(this.meanDistance(row, col))],
        ],
      }),
      onselect: ({ row }) => this.choose(row, this.app.store.now.expert),
    });
  }

  update(changed: ReadonlySet<string> | 'all'): void {
    if (changed === 'all' || ['run', 'block', 'theme', 'relative', 'sort', 'options'].some((k) => changed.has(k)))
      this.draw();
    const { expert } = this.app.store.now;
    this.matrix.mark(expert === null ? [] : [{ col: this.order.indexOf(expert), row: this.chosen }]);
  }
  resize(): void {
    this.matrix.layout();
    this.distances.layout();
  }

  // By label where the run in view has labels, unless the traces are asked for.
  private get kind(): Kind {
    const labels = runOf(this.app).domains.length > 0;
    return sameShape(this.app.page.runs) && (this.app.store.option('domains', 'by') === 'trace' || !labels)
      ? 'trace'
      : 'label';
  }
  private gather(): void {
    const run = runOf(this.app);
    const { runs } = this.app.page;
    this.sides =
      this.kind === 'label'
        ? run.domains.map((d) => ({ label: d.label, count: d.count, blocks: run.blocks, rows: (b) => d.rows[b]! }))
        : runs.map((r) => ({ label: r.label, count: r.cells.count, blocks: r.blocks, rows: (b) => r.blocks[b]!.rows }));
    this.chosen =
      this.kind === 'trace' ? this.app.store.now.run : Math.min(this.chosen, Math.max(0, this.sides.length - 1));
  }
  private choose(domain: number, expert: number | null): void {
    this.chosen = domain;
    this.app.store.set(this.kind === 'trace' ? { run: domain, expert } : { expert });
    this.update(new Set());
  }

  private countsOf(domain: number, block: number): Numbers {
    const side = this.sides[domain]!;
    const b = side.blocks[block]!;
    return side.count.subarray(b.first_cell, b.first_cell + b.n_expert);
  }
  // Of a domain's selections in a block; NaN where it has no rows there.
  share(domain: number, expert: number, block = this.app.store.now.block): number {
    const side = this.sides[domain]!;
    const all = side.rows(block) * side.blocks[block]!.n_expert_used;
    return all > 0 ? this.countsOf(domain, block)[expert]! / all : NaN;
  }
  // 0 is the same distribution, 1 has no expert in common.
  distance(a: number, b: number, block = this.app.store.now.block): number {
    return a === b ? 0 : jensenShannon(this.countsOf(a, block), this.countsOf(b, block));
  }
  // The distance of as many rows of one routing.
  chance(a: number, b: number, block = this.app.store.now.block): number {
    const shape = this.sides[a]!.blocks[block]!;
    return distanceByChance(
      this.countsOf(a, block),
      this.countsOf(b, block),
      repeatsIds(shape) ? 1 : shape.n_expert_used,
    );
  }
  private meanDistance(a: number, b: number): number {
    const all = runOf(this.app)
      .blocks.map((_, i) => this.distance(a, b, i))
      .filter((d) => !Number.isNaN(d));
    return all.reduce((s, d) => s + d, 0) / all.length;
  }

  table(): Table {
    const run = runOf(this.app);
    return {
      columns: ['domain', 'layer', 'block', 'expert', 'rows', 'selections', 'share', 'against_balance'],
      rows: this.sides.flatMap((side, i) =>
        run.blocks.flatMap((b, block) =>
          Array.from(this.countsOf(i, block), (n, e) => {
            const share = this.share(i, e, block);
            return [side.label, b.layer, b.block, e, side.rows(block), n, share, share * b.n_expert];
          }),
        ),
      ),
    };
  }

  private tip(domain: number, expert: number): { title: string; rows: [string, string][] } {
    const { block } = this.app.store.now;
    const side = this.sides[domain]!;
    const b = side.blocks[block]!;
    const share = this.share(domain, expert);
    return {
      title: `${side.label}, expert ${expert}`,
      rows: [
        ['selections', integer(this.countsOf(domain, block)[expert]!)],
        ['of rows', percent(share * b.n_expert_used)],
        ['rows', integer(side.rows(block))],
        ['share', percent(share)],
        ['against balance', times(share * b.n_expert)],
      ],
    };
  }

  private draw(): void {
    this.gather();
    const run = runOf(this.app);
    const { store } = this.app;
    const { block, relative, sort } = store.now;
    const n = run.blocks[block]!.n_expert;
    this.body.hidden = this.sides.length === 0;
    this.empty.hidden = this.sides.length > 0;
    if (this.sides.length === 0) return;
    fill(this.layer, layerPicker(this.app));
    this.kinds.element.hidden = run.domains.length === 0 || !sameShape(this.app.page.runs);
    this.kinds.set(this.kind);
    this.relative.set(relative ? 'relative' : 'absolute');
    this.sort.set(sort);
    this.drawShares(n);
    this.drawDistances();
    this.drawTops(n);
    this.labels.draw(this.sides);
    this.resize();
  }

  private drawShares(n: number): void {
    const { block, theme, relative, sort } = this.app.store.now;
    const { sides } = this;
    const total = Float64Array.from({ length: n }, (_, e) =>
      sides.reduce((s, _side, i) => s + (this.share(i, e) || 0), 0),
    );
    this.order = expertOrder(runOf(this.app), block, sort, total);
    const values = Float64Array.from(
      { length: n * sides.length },
      (_, i) => this.share(Math.floor(i / n), this.order[i % n]!) * (relative ? n : 1),
    );
    const scale = relative ? balanceScale() : heatScale(largest(values) || 1);
    this.matrix.setCells(scale.index(values), n, sides.length);
    this.matrix.setColors(colorTable(theme, scale.map));
    showLegend(this.legend, theme, scale, percent, 'never selected');
  }

  private drawDistances(): void {
    const { theme } = this.app.store.now;
    const n = this.sides.length;
    const far = heatScale(1);
    const pairs = Float64Array.from({ length: n ** 2 }, (_, i) =>
      Math.floor(i / n) === i % n ? NaN : this.distance(Math.floor(i / n), i % n),
    );
    this.distances.setCells(far.index(pairs), n, n);
    this.distances.setColors(colorTable(theme, 'heat'));
    showLegend(this.distanceLegend, theme, far, real, null);
  }

  // The experts whose share in a domain lies furthest above the mean of the others.
  private drawTops(n: number): void {
    const { sides } = this;
    fill(
      this.tops,
      ...sides.map((side, i) => {
        const others = (e: number) =>
          sides.reduce((s, _side, j) => s + (j === i ? 0 : this.share(j, e) || 0), 0) / Math.max(1, sides.length - 1);
        const top = Array.from({ length: n }, (_, e) => ({ e, here: this.share(i, e) || 0, elsewhere: others(e) }))
          .sort((x, y) => y.here - y.elsewhere - (x.here - x.elsewhere))
          .slice(0, 5);
        return h(
          'div',
          null,
          h('b', null, side.label),
          h(
            'div',
            { class: 'chips' },
            ...top.map((x) =>
              h(
                'button',
                {
                  type: 'button',
                  class: 'chip',
                  title: `elsewhere ${percent(x.elsewhere)}`,
                  onclick: () => this.choose(i, x.e),
                },
                h('b', null, String(x.e)),
                h('span', null, percent(x.here)),
              ),
            ),
          ),
        );
      }),
    );
  }
}
