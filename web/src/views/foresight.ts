// Foresight: how well the next experts can be foreseen, and how much waiting prefetching would hide. The recalls are those of
// `moescope analyze prefetch`; what layers wait at a bandwidth is computed here from a simulation's tables.

import { line } from 'd3-shape';
import { scaleLinear, scaleLog } from 'd3-scale';
import { percents, reals } from '../aligned';
import { runOf, type App, type Table, type View } from '../app';
import { categorical } from '../color';
import { CachesAtHand } from '../caches_at_hand';
import type { Foresight } from '../contract';
import { isProfile } from '../model';
import { field, fill, h, Segments } from '../dom';
import { drawEnds } from '../end_labels';
import { bytes, integer, percent } from '../format';
import { inTable, sliceTime, waiting, type Machine } from '../foresight_tables';
import { drawCursor, drawFrame, frameIn, newChart } from '../line_chart';
import { hideTip, showTip } from '../tooltip';

const gib = 2 ** 30;
type Point = [number, number];

function numberField(label: string, value: string, oninput: () => void): HTMLInputElement {
  return h('input', { type: 'number', min: 0.001, step: 'any', value, 'aria-label': label, oninput });
}

export class ForesightView implements View {
  readonly name = 'foresight';
  readonly title = 'Foresight';
  readonly element: HTMLElement;
  private recallChart = newChart('Recall of each list by layer');
  private stallChart = newChart('Time a token waits against bandwidth');
  private length: Segments<number>;
  private slots = h('input', { type: 'range', min: 0, step: 1, value: 0, 'aria-label': 'Slots per layer' });
  private slotsText = h('output', { class: 'quiet' });
  private bandwidth = h('input', { type: 'range', min: -6, max: 6, step: 0.125, value: 3, 'aria-label': 'Bandwidth' });
  private bandwidthText = h('output', { class: 'quiet' });
  private layerMs = numberField('Milliseconds a layer computes', '', () =>
    this.app.store.choose('foresight', 'layer-ms', this.layerMs.value),
  );
  private sliceMib = numberField('MiB of an expert', '', () =>
    this.app.store.choose('foresight', 'expert-mib', this.sliceMib.value),
  );
  private recallHead = h('tr', null);
  private recallTable = h('tbody', null);
  private stallTable = h('tbody', null);
  private stall = h('div', null);
  private body = h('div', { class: 'cache-body' });
  private empty = h('p', { class: 'empty' });
  private caption = h('p', { class: 'caption' });
  private shown: Foresight | null = null; // whose machine is in the fields
  private caches: CachesAtHand;

  constructor(private app: App) {
    this.caches = new CachesAtHand(app, () => this.draw());
    this.length = new Segments(
      'Length of the lists',
      [0, 1, 2].map((m) => ({ value: m, label: m === 0 ? 'First k' : `First ${m + 1}k` })),
      (m) => app.store.choose('foresight', 'length', m === 0 ? null : m + 1),
    );
    const { store } = app;
    this.slots.addEventListener('input', () =>
      store.choose('foresight', 'slots', this.shown!.slots[Number(this.slots.value)]!),
    );
    this.bandwidth.addEventListener('input', () => store.choose('foresight', 'bandwidth', this.bandwidth.value));
    const head = ['Foreseen by', 'Waits per token', 'Hidden', 'Fetched per token', 'In vain'];
    this.stall.append(
      h(
        'div',
        { class: 'toolbar' },
        field('slots', this.slots),
        this.slotsText,
        field('bandwidth', this.bandwidth),
        this.bandwidthText,
        field('ms per layer', this.layerMs),
        field('MiB per expert', this.sliceMib),
      ),
      h('div', { class: 'chart-box' }, this.stallChart),
      h(
        'div',
        { class: 'scroll-x' },
        h(
          'table',
          { class: 'stall' },
          h('thead', null, h('tr', null, ...head.map((t) => h('th', null, t)))),
          this.stallTable,
        ),
      ),
    );
    this.body.append(
      h('div', { class: 'toolbar' }, this.length.element),
      h('div', { class: 'chart-box' }, this.recallChart),
      h(
        'div',
        { class: 'scroll-x' },
        h('table', { class: 'recall' }, h('thead', null, this.recallHead), this.recallTable),
      ),
      this.stall,
      this.caption,
    );
    this.element = h('section', { class: 'card' }, this.body, this.empty);
  }

  update(changed: ReadonlySet<string> | 'all'): void {
    if (changed === 'all' || changed.has('run')) {
      void this.caches.load(false);
      this.draw();
    } else if (changed.has('theme') || changed.has('options')) this.draw();
  }
  resize(): void {
    this.draw();
  }
  private draw(): void {
    const run = runOf(this.app);
    const f = this.caches.now?.foresight ?? null;
    this.body.hidden = f === null;
    this.empty.hidden = f !== null;
    this.empty.textContent = this.caches.waiting
      ? 'Looking ahead …'
      : run.source.counts_only
        ? isProfile(run)
          ? 'A profile holds sums; foresight needs every row.'
          : 'This trace holds only counts; foresight needs every row.'
        : 'Nothing can be foreseen here. For long traces, moescope analyze prefetch answers.';
    if (f === null) return;
    this.length.set(this.m);
    if (this.shown !== f) this.takeMachine(f);
    this.takeChoices(f);
    this.drawRecall(f);
    this.drawStall();
    this.writeCaption(f);
  }

  // The fields begin with what the trace and the model say.
  private takeMachine(f: Foresight): void {
    this.shown = f;
    this.slots.max = String(Math.max(0, f.slots.length - 1));
    this.slots.value = String(Math.floor(f.slots.length / 2));
    this.layerMs.value = f.layer_seconds ? (1e3 * f.layer_seconds).toPrecision(3) : '1';
    this.sliceMib.value = f.slice_bytes > 0 ? (f.slice_bytes / 2 ** 20).toPrecision(3) : '4';
  }
  // What the reader, or the link, has put in their place.
  private takeChoices(f: Foresight): void {
    const chosen = (name: string) => Number(this.app.store.option('foresight', name) ?? NaN);
    const slots = f.slots.indexOf(chosen('slots'));
    if (slots >= 0) this.slots.value = String(slots);
    const fields = { bandwidth: this.bandwidth, 'layer-ms': this.layerMs, 'expert-mib': this.sliceMib };
    for (const [name, input] of Object.entries(fields)) {
      const value = chosen(name);
      if (Number.isFinite(value) && Number(input.value) !== value) input.value = String(value);
    }
  }
  // The lists have (m + 1) k experts.
  private get m(): number {
    return Math.min(3, Math.max(1, Number(this.app.store.option('foresight', 'length')) || 1)) - 1;
  }
  table(): Table {
    const f = this.shown;
    const rows: (string | number)[][] = [];
    f?.lists.forEach((by, l) => {
      rows.push(['recall', by, '', f.recall[l * 3 + this.m]!]);
      f.layer.forEach((layer, i) => rows.push(['recall', by, layer, this.recallOf(f, i, l)]));
    });
    for (const w of f && f.slots.length > 0 ? waiting(f, Number(this.slots.value), this.machine()) : []) {
      const figures = { waits_s: w.seconds, hidden: w.hidden, fetched_bytes: w.fetched, in_vain_bytes: w.inVain };
      for (const [figure, value] of Object.entries(figures)) rows.push([figure, w.name, '', value]);
    }
    return { columns: ['figure', 'foreseen_by', 'layer', 'value'], rows };
  }
  private machine(): Machine {
    return {
      bandwidth: 2 ** Number(this.bandwidth.value) * gib,
      layerSeconds: Number(this.layerMs.value) / 1e3,
      sliceBytes: Number(this.sliceMib.value) * 2 ** 20,
    };
  }
  private recallOf(f: Foresight, layer: number, list: number): number {
    return f.layer_recall[(layer * f.lists.length + list) * 3 + this.m]!;
  }

  private drawRecall(f: Foresight): void {
    this.writeRecall(f);
    const { theme } = this.app.store.now;
    const at = frameIn(this.recallChart, f.lists, 300);
    if (!at) return;
    const last = f.layer.length - 1;
    const x = scaleLinear([0, Math.max(1, last)], [at.left, at.right]);
    const y = scaleLinear([0, 1], [at.bottom, at.top]);
    const s = drawFrame(
      this.recallChart,
      at,
      { scale: x, format: 'd', ticks: Math.min(12, last), title: 'MoE layer' },
      { scale: y, format: '.0%', title: 'of a token’s experts foreseen' },
    );
    f.lists.forEach((name, l) => {
      const points = f.layer
        .map((_, i) => [i, this.recallOf(f, i, l)] as Point)
        .filter(([, recall]) => !Number.isNaN(recall))
        .map(([i, recall]) => [x(i), y(recall)] as Point);
      const color = categorical(theme, l);
      s.append('path').attr('class', 'curve').attr('data-list', name).attr('d', line()(points)).attr('stroke', color);
      for (const [cx, cy] of points)
        s.append('circle')
          .attr('r', last > 24 ? 1.5 : 3)
          .attr('cx', cx)
          .attr('cy', cy)
          .attr('fill', color);
    });
    const ends = f.lists.map((name, l) => ({ name, y: y(this.recallOf(f, last, l)), color: categorical(theme, l) }));
    drawEnds(s, ends, at.right, at.top, at.bottom);
    this.recallChart.onpointermove = (e) => {
      const i = Math.max(0, Math.min(last, Math.round(x.invert(e.offsetX))));
      showTip(
        e,
        `Layer ${f.layer[i]}`,
        f.lists.map((name, l) => [name, percent(this.recallOf(f, i, l))]),
      );
    };
    this.recallChart.onpointerleave = hideTip;
  }

  private writeRecall(f: Foresight): void {
    const { theme } = this.app.store.now;
    const at3 = (values: Float64Array, l: number) => values[l * 3 + this.m]!;
    const recall = percents(f.lists.map((_, l) => at3(f.recall, l)));
    fill(this.recallHead, ...['Foreseen by', 'Of all layers', '95 %'].map((t) => h('th', null, t)));
    fill(
      this.recallTable,
      ...f.lists.map((name, l) => {
        if (Number.isNaN(at3(f.recall, l))) return null;
        const swatch = h('i', { class: 'swatch' });
        swatch.style.background = categorical(theme, l);
        const low = at3(f.recall_low, l);
        return h(
          'tr',
          { 'data-list': name },
          h('td', { class: 'left' }, swatch, name),
          h('td', null, recall(at3(f.recall, l))),
          h('td', { class: 'quiet' }, Number.isNaN(low) ? '–' : `${recall(low)} to ${recall(at3(f.recall_high, l))}`),
        );
      }),
    );
  }

  private drawStall(): void {
    const f = this.shown;
    const machine = this.machine();
    const possible = f !== null && f.slots.length > 0;
    this.stall.hidden = !possible;
    if (!possible || !(machine.layerSeconds > 0) || !(machine.sliceBytes > 0)) return;
    const slot = Number(this.slots.value);
    this.slotsText.textContent = `${f.slots[slot]} per layer`;
    this.bandwidthText.textContent =
      `${(machine.bandwidth / gib).toPrecision(3)} GiB/s` +
      (inTable(f, sliceTime(machine)) ? '' : ' (beyond what was simulated)');
    this.drawCurves(f, slot, machine);
    const { theme } = this.app.store.now;
    const all = waiting(f, slot, machine).filter((w) => !this.unseen(f, w.name));
    const ms = reals(
      all.map((w) => 1e3 * w.seconds),
      3,
    );
    const hidden = percents(all.map((w) => w.hidden));
    fill(
      this.stallTable,
      ...all.map((w) => {
        const swatch = h('i', { class: 'swatch' });
        swatch.style.background = categorical(theme, this.hue(f, w.name));
        return h(
          'tr',
          { 'data-by': w.name },
          h('td', { class: 'left' }, swatch, w.name),
          h('td', null, `${ms(1e3 * w.seconds)} ms`),
          h('td', null, w.name === 'none' ? '–' : hidden(w.hidden)),
          h('td', null, bytes(Math.round(w.fetched))),
          h('td', null, bytes(Math.round(w.inVain))),
        );
      }),
    );
  }

  // A list has the same colour in both pictures; none and the oracle come behind them.
  private hue(f: Foresight, name: string): number {
    const l = f.lists.indexOf(name);
    return l >= 0 ? l : f.lists.length + (name === 'none' ? 0 : 1);
  }

  // A list that nothing is foreseen by: without a model, the routers'.
  private unseen(f: Foresight, name: string): boolean {
    const l = f.lists.indexOf(name);
    return l >= 0 && Number.isNaN(f.recall[l * 3]!);
  }

  private drawCurves(f: Foresight, slot: number, machine: Machine): void {
    const { theme } = this.app.store.now;
    const at = frameIn(this.stallChart, f.prefetchers, 300);
    if (!at) return;
    const [low, high] = [Number(this.bandwidth.min), Number(this.bandwidth.max)];
    const steps = Array.from({ length: 49 }, (_, i) => 2 ** (low + ((high - low) * i) / 48) * gib);
    const curves = steps.map((bandwidth) => waiting(f, slot, { ...machine, bandwidth }));
    const x = scaleLog([2 ** low, 2 ** high], [at.left, at.right]).base(2);
    const most = Math.max(...curves[0]!.map((w) => w.seconds)) * 1e3;
    const y = scaleLinear([0, most || 1], [at.bottom, at.top]);
    const s = drawFrame(
      this.stallChart,
      at,
      { scale: x, format: '~g', ticks: 12, title: 'bandwidth, GiB/s' },
      { scale: y, format: '~g', title: 'ms that a token waits' },
    );
    drawCursor(s, at, x(machine.bandwidth / gib));
    f.prefetchers.forEach((name, p) => {
      if (this.unseen(f, name)) return;
      s.append('path')
        .attr('class', 'curve')
        .attr('data-by', name)
        .attr('d', line()(steps.map((b, i) => [x(b / gib), y(curves[i]![p]!.seconds * 1e3)] as Point)))
        .attr('stroke', categorical(theme, this.hue(f, name)))
        .attr('stroke-dasharray', name === 'none' ? '2 4' : name === 'oracle' ? '7 4' : null);
    });
    const ends = f.prefetchers
      .map((name, p) => ({
        name,
        y: y(curves.at(-1)![p]!.seconds * 1e3),
        color: categorical(theme, this.hue(f, name)),
      }))
      .filter(({ name }) => !this.unseen(f, name));
    drawEnds(s, ends, at.right, at.top, at.bottom);
  }

  private writeCaption(f: Foresight): void {
    const c = this.caches.now!;
    this.caption.textContent =
      `${integer(c.tokens)} tokens. Each list names experts before their layer begins; what is learned comes from the other ` +
      'half of the trace. ' +
      (f.own === null
        ? 'With --model and a trace of --capture gate-input, the model’s own routers look ahead too. '
        : `Given a layer’s own input, its router selects ${percent(f.own)} of what was recorded. `) +
      (f.slots.length > 0
        ? 'Waiting: an LRU cache per layer, one line for all transfers, the first k of each list fetched one layer ahead; ' +
          'the oracle knows what the next layer selects.'
        : 'The trace is too long to simulate here: moescope analyze prefetch does it.');
  }
}
