// Cache: how many reads of expert slices a cache would hold, by policy, against its slots. The figures are those of
// `moescope analyze cache`; this file only draws them.

import { line } from 'd3-shape';
import { scaleLinear, type ScaleLinear } from 'd3-scale';
import { percents } from '../aligned';
import { runOf, type App, type Table, type View } from '../app';
import { categorical } from '../color';
import { CachesAtHand } from '../caches_at_hand';
import type { Cache } from '../contract';
import { isProfile } from '../model';
import { field, fill, h, Segments } from '../dom';
import { drawEnds } from '../end_labels';
import { bytes, compact, integer, percent, plural } from '../format';
import { drawCursor, drawFrame, frameIn, newChart } from '../line_chart';
import { hideTip, showTip } from '../tooltip';

const whatIs: Record<string, string> = {
  LRU: 'evicts what was used least recently',
  LFU: 'evicts what was used least often',
  LFRU: 'evicts the fewest uses for its age',
  decay: 'evicts what has the fewest recent uses',
  'least-stale': 'evicts the layer whose turn is furthest',
  static: 'holds what the other half of the trace used most',
  random: 'evicts at random',
  Belady: 'knows the future, so nothing can do better',
};

export class CacheView implements View {
  readonly name = 'cache';
  readonly title = 'Cache';
  readonly element: HTMLElement;
  private svg = newChart('Hit rate against slots per layer');
  private scope: Segments<string>;
  private slots = h('input', {
    type: 'range',
    min: 0,
    step: 1,
    value: 0,
    'aria-label': 'Slots per layer',
    oninput: () => this.pick(Number(this.slots.value)),
  });
  private slotsText = h('output', { class: 'quiet' });
  private bandwidth = h('input', {
    type: 'number',
    min: 0.1,
    step: 'any',
    value: 16,
    'aria-label': 'Bandwidth in GiB/s',
    oninput: () => this.app.store.choose('cache', 'bandwidth', this.bandwidth.value),
  });
  private bandwidthField = field('GiB/s for missed experts', this.bandwidth);
  private again = h(
    'button',
    { type: 'button', class: 'button', onclick: () => void this.caches.load(true) },
    'Simulate again',
  );
  private head = h('tr', null);
  private rows = h('tbody', null);
  private body = h('div', { class: 'cache-body' });
  private empty = h('p', { class: 'empty' });
  private caption = h('p', { class: 'caption' });
  private caches: CachesAtHand;

  constructor(private app: App) {
    this.caches = new CachesAtHand(app, () => this.draw());
    this.scope = new Segments(
      'Scope',
      [
        { value: 'layer', label: 'Slots in each layer' },
        { value: 'pool', label: 'One pool', title: 'The same number of slots in total, shared by all layers' },
      ],
      (v) => app.store.choose('cache', 'scope', v === 'pool' ? v : null),
    );
    this.body.append(
      h(
        'div',
        { class: 'toolbar' },
        this.scope.element,
        field('slots', this.slots),
        this.slotsText,
        this.bandwidthField,
        this.again,
      ),
      h('div', { class: 'chart-box' }, this.svg),
      h('div', { class: 'scroll-x' }, h('table', null, h('thead', null, this.head), this.rows)),
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
  // A figure of a policy in the scope in view, by index.
  at3(values: Float64Array, slot: number, policy: number): number {
    const c = this.cache!;
    return values[(this.pool * c.slots.length + slot) * c.policies.length + policy]!;
  }

  private get cache(): Cache | null {
    return this.caches.now;
  }

  private pick(slot: number): void {
    this.app.store.choose('cache', 'slots', this.cache!.slots[slot]!);
  }
  // Scope: 0 slots in each layer, 1 one pool of them all.
  private get pool(): 0 | 1 {
    return this.app.store.option('cache', 'scope') === 'pool' ? 1 : 0;
  }
  // Index of the slots in view: at first half of the experts.
  private get at(): number {
    const c = this.cache!;
    const wanted = Number(this.app.store.option('cache', 'slots') ?? c.n_expert / 2);
    const at = c.slots.findIndex((s) => s >= wanted);
    return at < 0 ? c.slots.length - 1 : at;
  }

  private draw(): void {
    const run = runOf(this.app);
    const c = this.cache;
    const waiting = this.caches.waiting;
    const shown = c !== null && c.slots.length > 0;
    this.body.hidden = !shown;
    this.empty.hidden = shown;
    this.empty.textContent = waiting
      ? 'Simulating caches …'
      : run.source.counts_only
        ? isProfile(run)
          ? 'A profile holds sums, but a cache needs every read.'
          : 'This trace holds only counts, but a cache needs every read.'
        : c && c.too_many > 0
          ? `${integer(c.too_many)} reads are too many to simulate here; use moescope analyze cache.`
          : 'Nothing was read that a cache could hold.';
    if (!shown) return;
    const bandwidth = Number(this.app.store.option('cache', 'bandwidth'));
    if (bandwidth > 0) this.bandwidth.value = String(bandwidth);
    this.scope.set(this.pool ? 'pool' : 'layer');
    this.slots.max = String(c.slots.length - 1);
    this.slots.value = String(this.at);
    this.slotsText.textContent = `${c.slots[this.at]} of ${c.n_expert} per layer`;
    this.again.hidden = c.of_tokens >= run.tokens;
    this.again.disabled = waiting;
    this.again.textContent = waiting ? 'Simulating …' : 'Simulate again';
    this.drawChart(c);
    this.writeTable();
    this.writeCaption(c);
  }

  private drawChart(c: Cache): void {
    const { theme } = this.app.store.now;
    const at = frameIn(this.svg, c.policies, 380);
    if (!at) return;
    const x = scaleLinear([0, c.slots.at(-1)!], [at.left, at.right]);
    const y = scaleLinear([0, 1], [at.bottom, at.top]);
    const title = `slots per layer, of ${c.n_expert} experts`;
    const s = drawFrame(
      this.svg,
      at,
      { scale: x, ticks: c.slots.length, title },
      { scale: y, format: '.0%', title: 'reads that hit' },
    );
    const here = x(c.slots[this.at]!);
    drawCursor(s, at, here);
    c.policies.forEach((name, p) => {
      const points = c.slots
        .map((slots, i) => [x(slots), y(this.at3(c.hit_rate, i, p))] as [number, number])
        .filter(([, v]) => !Number.isNaN(v));
      const color = categorical(theme, p);
      const hits = this.at3(c.hit_rate, this.at, p);
      s.append('path')
        .attr('class', 'curve')
        .attr('data-policy', name)
        .attr('d', line()(points))
        .attr('stroke', color)
        .attr('stroke-dasharray', name === 'random' ? '2 4' : name === 'Belady' ? '7 4' : null);
      if (!Number.isNaN(hits)) s.append('circle').attr('r', 4).attr('cx', here).attr('cy', y(hits)).attr('fill', color);
    });
    const last = c.slots.length - 1;
    const ends = c.policies.map((name, p) => ({
      name,
      y: y(this.at3(c.hit_rate, last, p)),
      before: y(this.at3(c.hit_rate, Math.floor(last / 2), p)),
      color: categorical(theme, p),
    }));
    drawEnds(s, ends, at.right, at.top, at.bottom);
    this.listen(c, x);
  }

  private listen(c: Cache, x: ScaleLinear<number, number>): void {
    const nearest = (e: MouseEvent) => {
      const s = x.invert(e.offsetX);
      const far = c.slots.map((v) => Math.abs(v - s));
      return far.indexOf(Math.min(...far));
    };
    this.svg.onpointermove = (e) => {
      const slot = nearest(e);
      showTip(
        e,
        `${c.slots[slot]} slots per layer`,
        c.policies.map((name, p) => [name, percent(this.at3(c.hit_rate, slot, p))]),
      );
    };
    this.svg.onpointerleave = hideTip;
    this.svg.onclick = (e) => this.pick(nearest(e));
  }

  table(): Table {
    const c = this.cache;
    const rows: (string | number)[][] = [];
    for (let scope = 0; c && scope < 2; scope++)
      c.slots.forEach((slots, s) =>
        c.policies.forEach((policy, p) => {
          const at = (scope * c.slots.length + s) * c.policies.length + p;
          const figures = [c.hit_rate, c.hit_rate_low, c.hit_rate_high, c.bytes_per_token].map((v) => v[at]!);
          rows.push([scope === 0 ? 'layer' : 'pool', slots, policy, ...figures]);
        }),
      );
    const figures = ['hit_rate', 'hit_rate_low', 'hit_rate_high', 'missed_bytes_per_token'];
    return { columns: ['scope', 'slots_per_layer', 'policy', ...figures], rows };
  }

  private writeTable(): void {
    const c = this.cache!;
    const { theme } = this.app.store.now;
    const sized = !Number.isNaN(this.at3(c.bytes_per_token, this.at, 0));
    const speed = Number(this.bandwidth.value) * 2 ** 30;
    this.bandwidthField.hidden = !sized;
    fill(
      this.head,
      ...['Policy', 'Hits', '95 %', ...(sized ? ['Missed per token', 'Tokens/s at most'] : [])].map((t) =>
        h('th', null, t),
      ),
    );
    const hits = percents(c.policies.map((_, p) => this.at3(c.hit_rate, this.at, p)));
    fill(
      this.rows,
      ...c.policies.map((name, p) => {
        const swatch = h('i', { class: 'swatch' });
        const low = this.at3(c.hit_rate_low, this.at, p);
        const miss = this.at3(c.bytes_per_token, this.at, p);
        swatch.style.background = categorical(theme, p);
        return h(
          'tr',
          { 'data-policy': name },
          h('td', { class: 'left' }, swatch, name, h('span', { class: 'quiet' }, ' ' + (whatIs[name] ?? ''))),
          h('td', null, hits(this.at3(c.hit_rate, this.at, p))),
          h(
            'td',
            { class: 'quiet' },
            Number.isNaN(low) ? '–' : `${hits(low)} to ${hits(this.at3(c.hit_rate_high, this.at, p))}`,
          ),
          ...(sized
            ? [
                h('td', null, bytes(Math.round(miss))),
                h('td', null, miss > 0 ? compact(Math.round(speed / miss)) : '∞'),
              ]
            : []),
        );
      }),
    );
  }

  private writeCaption(c: Cache): void {
    const asked =
      c.asked === 'decode' ? 'generated tokens only' : c.asked === 'prefill' ? 'prompt tokens only' : 'all tokens';
    const cold = percent(c.accesses > 0 ? c.cold / c.accesses : NaN);
    const units = c.units_are_sequences
      ? plural(c.units, 'sequence')
      : plural(c.units, 'stretch', 'stretches of 64 ubatches');
    this.caption.textContent =
      `${plural(c.ubatches, 'ubatch', 'ubatches')} with ${plural(c.tokens, 'token')} (${asked}), ` +
      `${plural(c.accesses, 'read')}: a read is one ubatch that needs an expert’s slices. ` +
      `The first read of each slice is left out (${cold} of the reads): no cache can serve it. ` +
      `Each half of the trace starts with an empty cache. Intervals come from resampling ${units}.` +
      (Number.isNaN(c.bytes_per_token[0]!)
        ? ' With --model, bytes and tokens per second are shown as well.'
        : ' Tokens/s at most: the bandwidth divided by the missed bytes; all other work comes on top.');
  }
}
