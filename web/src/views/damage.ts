// Damage: what `moescope evaluate` found. Curves by criterion and experts kept, a map of what single experts are worth, and
// the figures of every plan.

import { percents, reals } from '../aligned';
import { runOf, type App, type Table, type View } from '../app';
import { categorical, colorTable } from '../color';
import type { Damage, DamageRow } from '../contract';
import { fill, h, Segments } from '../dom';
import { percent, plural, real } from '../format';
import { Legend } from '../legend';
import { Matrix, type Cell } from '../matrix';
import { decadesScale, largest, showLegend } from '../scale';
import { curvesOf, drawCurves, largestOf } from './damage_curves';

export class DamageView implements View {
  readonly name = 'damage';
  readonly title = 'Damage';
  readonly element: HTMLElement;
  readonly matrix: Matrix;
  private legend = new Legend();
  private sets: Segments<number>;
  private key = h('div', { class: 'toolbar' });
  private curves = h('div', { class: 'damage-curves' });
  private curvesCard: HTMLElement;
  private expertsCard: HTMLElement;
  private plansCard: HTMLElement;
  private rows = h('tbody', null);
  private layers: number[] = [];
  private columns = 0;
  private experts: DamageRow[] = [];
  private plans: DamageRow[] = [];

  constructor(
    private app: App,
    private damage: Damage,
  ) {
    this.experts = damage.rows.filter((r) => r.expert >= 0);
    this.plans = damage.rows.filter((r) => r.expert < 0);
    this.layers = [...new Set(this.experts.map((r) => r.layer))].sort((a, b) => a - b);
    this.columns = Math.max(damage.n_expert, ...this.experts.map((r) => r.expert + 1));
    this.sets = new Segments<number>(
      'Text',
      this.setNames().map((label, value) => ({ value, label })),
      (set) => app.store.choose('damage', 'text', set === 0 ? null : damage.labels[set - 1]!),
    );
    this.matrix = new Matrix({
      label: 'Damage without one expert',
      xTitle: 'expert →',
      yTitle: 'layer ↓',
      rowLabel: (r) => String(this.layers[r] ?? ''),
      colLabel: (c) => String(c),
      tip: (cell) => this.tip(cell),
      onselect: (cell) => this.choose(cell),
    });
    this.curvesCard = h('section', { class: 'card' }, h('h4', null, 'Damage by experts kept'), this.key, this.curves);
    this.expertsCard = h(
      'section',
      { class: 'card' },
      h('div', { class: 'toolbar' }, h('h4', null, 'Damage without one expert alone'), this.legend.element),
      this.matrix.element,
    );
    this.plansCard = this.makeTable();
    this.element = h(
      'div',
      { class: 'damage' },
      h('div', { class: 'toolbar', hidden: damage.labels.length === 0 }, this.sets.element),
      this.curvesCard,
      this.expertsCard,
      this.plansCard,
      h('p', { class: 'caption' }, this.caption()),
    );
  }

  update(changed: ReadonlySet<string> | 'all'): void {
    if (changed === 'all' || changed.has('theme') || changed.has('options')) this.draw();
    this.mark();
  }
  resize(): void {
    this.drawCurves();
    this.matrix.layout();
  }

  // Whose figures the map and the table show: 0 the whole text, else label set - 1.
  private get set(): number {
    return this.damage.labels.indexOf(this.app.store.option('damage', 'text') ?? '') + 1;
  }
  table(): Table {
    const names = this.setNames();
    const figures = ['kl', 'kl_low', 'kl_high', 'delta_nll', 'same_top', 'displaced'];
    return {
      columns: ['plan', 'criterion', 'keep', 'layer', 'expert', 'text', ...figures],
      rows: this.damage.rows.flatMap((r) =>
        r.cells.map((cell, i) => [
          r.name,
          r.criterion,
          ...[r.keep, r.layer, r.expert].map((n) => (n < 0 ? NaN : n)),
          names[i]!,
          ...cell.map((v) => v ?? NaN),
        ]),
      ),
    };
  }
  private setNames(): string[] {
    return ['Whole text', ...this.damage.labels];
  }
  private caption(): string {
    const d = this.damage;
    return (
      `${d.model} on ${d.corpus}: ${plural(d.samples, 'sample')}, ${plural(d.tokens, 'predicted token')}. ` +
      'KL is the divergence of the changed model’s predictions from the full one’s, in nats per token: 0 is the same. ' +
      'Bars are 95 % intervals over samples. A colour is the KL without one expert alone, on a logarithmic scale; the sum ' +
      'of two is not what the two together cost.'
    );
  }
  private makeTable(): HTMLElement {
    const heads = ['Plan', 'KL', '95 %', 'More NLL', 'Same top token', 'Displaced'];
    return h(
      'section',
      { class: 'card' },
      h('h4', null, 'Plans'),
      h(
        'div',
        { class: 'scroll-x' },
        h('table', null, h('thead', null, h('tr', null, ...heads.map((t) => h('th', null, t)))), this.rows),
      ),
    );
  }

  // The KL of a cell of the map; NaN where it was not measured.
  value(row: number, col: number): number {
    const r = this.experts.find((e) => e.layer === this.layers[row] && e.expert === col);
    return r?.cells[this.set]![0] ?? NaN;
  }
  private tip({ col, row }: Cell): { title: string; rows: [string, string][] } {
    const layer = this.layers[row]!;
    const found = this.experts.find((e) => e.layer === layer && e.expert === col);
    const title = `layer ${layer}, expert ${col}`;
    if (!found) return { title, rows: [['not measured', '']] };
    const [kl, low, high, nll, same, displaced] = found.cells[this.set]!;
    return {
      title: `without ${title}`,
      rows: [
        ['KL', real(kl)],
        ['95 %', low === null ? '–' : `${real(low)} to ${real(high)}`],
        ['more NLL', real(nll)],
        ['same top token', percent(same)],
        ['selections displaced', percent(displaced)],
      ],
    };
  }
  private choose({ col, row }: Cell): void {
    const block = runOf(this.app).blocks.findIndex((b) => b.layer === this.layers[row] && b.block === 0);
    if (block >= 0 && col < runOf(this.app).blocks[block]!.n_expert) this.app.store.set({ block, expert: col });
  }
  private mark(): void {
    const { block, expert } = this.app.store.now;
    const row = this.layers.indexOf(runOf(this.app).blocks[block]?.layer ?? -1);
    this.matrix.mark(expert === null || row < 0 ? [] : [{ col: expert, row }]);
  }

  private draw(): void {
    this.sets.set(this.set);
    this.curvesCard.hidden = curvesOf(this.damage).size === 0;
    this.expertsCard.hidden = this.experts.length === 0;
    this.plansCard.hidden = this.plans.length === 0;
    this.drawExperts();
    this.writeTable();
    this.drawCurves();
  }
  // Every text has a panel of its own, so the choice of one does not matter here.
  private drawCurves(): void {
    const width = this.curves.clientWidth;
    if (this.curvesCard.hidden || width <= 0) return;
    const { theme } = this.app.store.now;
    const names = this.setNames();
    const across = width < 620 ? 1 : Math.min(2, names.length);
    const most = largestOf(this.damage);
    const panel = Math.floor(width / across);
    fill(this.curves, ...names.map((name, set) => drawCurves(this.damage, set, name, most, panel, theme)));
    fill(
      this.key,
      ...[...curvesOf(this.damage).keys()].map((name, i) => {
        const swatch = h('i', { class: 'swatch' });
        swatch.style.background = categorical(theme, i);
        return h('span', { class: 'quiet' }, swatch, name);
      }),
    );
  }
  private drawExperts(): void {
    if (this.experts.length === 0) return;
    const { theme } = this.app.store.now;
    const values = new Float64Array(this.layers.length * this.columns).fill(NaN);
    for (const r of this.experts)
      values[this.layers.indexOf(r.layer) * this.columns + r.expert] = r.cells[this.set]![0] ?? NaN;
    const scale = decadesScale(largest(values) || 1);
    this.matrix.setCells(scale.index(values), this.columns, this.layers.length);
    this.matrix.setColors(colorTable(theme, scale.map));
    showLegend(this.legend, theme, scale, (v) => real(Number((10 ** v).toPrecision(2))), 'no damage, or not measured');
    this.matrix.layout();
  }
  private writeTable(): void {
    const column = (i: number) => this.plans.map((r) => r.cells[this.set]![i]!);
    const [klText, nllText] = [reals(column(2)), reals(column(3))];
    const [sameText, displacedText] = [percents(column(4)), percents(column(5))];
    fill(
      this.rows,
      ...this.plans.map((r) => {
        const [kl, low, high, nll, same, displaced] = r.cells[this.set]!;
        return h(
          'tr',
          null,
          h('td', { class: 'left' }, r.name),
          h('td', null, klText(kl)),
          h('td', { class: 'quiet' }, low === null ? '–' : `${klText(low)} to ${klText(high)}`),
          h('td', null, nllText(nll)),
          h('td', null, sameText(same)),
          h('td', null, displacedText(displaced)),
        );
      }),
    );
  }
}
