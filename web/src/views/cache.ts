// Cache: hit rate of an expert cache against its slots per layer, by policy, and what that means in bytes and
// tokens per second.

import { line } from 'd3-shape';
import { scaleLinear } from 'd3-scale';
import { select as d3select } from 'd3-selection';
import { axisBottom, axisLeft } from 'd3-axis';
import { runOf, type App, type View } from '../app';
import { categorical } from '../color';
import { field, fill, h, Segments } from '../dom';
import { bytes, percent, real } from '../format';
import { hideTip, showTip } from '../tooltip';

export class CacheView implements View {
  readonly name = 'cache';
  readonly title = 'Cache';
  readonly element: HTMLElement;
  private svg = h('svg', { class: 'chart', role: 'img', 'aria-label': 'Hit rate against slots per layer' }) as SVGSVGElement;
  private scope: Segments<string>;
  private slot = h('input', { type: 'range', min: 0, step: 1, value: 0, 'aria-label': 'Slots per layer', oninput: () => { this.at = Number(this.slot.value); this.draw(); } });
  private bandwidth = h('input', { type: 'number', min: 0.1, step: 1, value: 16, 'aria-label': 'Bandwidth in GB/s', oninput: () => this.draw() });
  private table = h('tbody', null);
  private head = h('tr', null);
  private caption = h('p', { class: 'caption' });
  private pool = 0;      // scope: 0 slots in each layer, 1 one pool of them all
  private at = 0;

  constructor(private app: App) {
    this.scope = new Segments('Scope', [{ value: 'layer', label: 'Slots in each layer' }, { value: 'pool', label: 'One pool' }], (v) => { this.pool = v === 'pool' ? 1 : 0; this.draw(); });
    this.element = h('section', { class: 'card' },
      h('div', { class: 'toolbar' }, this.scope.element, field('slots per layer', this.slot), h('output', { class: 'quiet' }), field('bandwidth GB/s', this.bandwidth)),
      this.svg as unknown as HTMLElement, h('div', { class: 'scroll-x' }, h('table', null, h('thead', null, this.head), this.table)),
this.caption);
  }

  update(changed: ReadonlySet<string> | 'all'): void {
    const cache = runOf(this.app).cache;
    if (!cache) return;
    if (changed === 'all' || changed.has('run')) {
      this.slot.max = String(cache.slots.length - 1);
      this.at = Math.min(cache.slots.length - 1, changed === 'all' && this.at > 0 ? this.at : Math.floor(cache.slots.length / 2));
      this.slot.value = String(this.at);
    }
    this.draw();
  }
  resize(): void {
    this.draw();
  }

  private at3(values: Float32Array, policy: number, slot: number): number {
    const c = runOf(this.app).cache!;
    return values[(this.pool * c.policies.length + policy) * c.slots.length + slot]!;
  }
  // Hit rate of a policy in the scope on view.
  rate(policy: number, slot: number): number {
    return this.at3(runOf(this.app).cache!.hit_rate, policy, slot);
  }

  private draw(): void {
    const run = runOf(this.app), c = run.cache;
    const width = this.svg.parentElement?.clientWidth ? this.svg.parentElement.clientWidth - 32 : 0;
    if (!c || width <= 0) return;
    this.scope.set(this.pool ? 'pool' : 'layer');
    const height = width < 500 ? 260 : 340, left = 44, bottom = 34, top = 10, right = 12, { theme } = this.app.store.now;
    const x = scaleLinear([0, c.slots.at(-1)!], [left, width - right]), y = scaleLinear([0, 1], [height - bottom, top]);
    const svg = d3select(this.svg);
    svg.attr('width', width).attr('height', height).attr('viewBox', `0 0 ${width} ${height}`);
    svg.selectAll('*').remove();
    svg.append('g').attr('class', 'axes-in').attr('transform', `translate(0,${height - bottom})`).call(axisBottom(x).ticks(Math.min(c.slots.length, 12)).tickSizeOuter(0));
    svg.append('g').attr('class', 'axes-in').attr('transform', `translate(${left},0)`).call(axisLeft(y).ticks(5, '.0%').tickSize(-(width - left - right))).select('.domain').remove();
    svg.append('text').attr('class', 'axis-title').attr('x', width - right).attr('y', height - 4).attr('text-anchor', 'end').text('slots per layer');
    svg.append('text').attr('class', 'axis-title').attr('x', 0).attr('y', 8).text('hit rate');
    svg.append('line').attr('class', 'cursor').attr('x1', x(c.slots[this.at]!)).attr('x2', x(c.slots[this.at]!)).attr('y1', top).attr('y2', height - bottom);
    c.policies.forEach((name, p) => {
      const points = c.slots.map((s, i) => [x(s), y(this.rate(p, i))] as [number, number]).filter(([, v]) => !Number.isNaN(v));
      svg.append('path').attr('class', 'curve').attr('d', line()(points)).attr('stroke', categorical(theme, p)).attr('stroke-dasharray', name === 'random' ? '4 4' : null);
      if (!Number.isNaN(this.rate(p, this.at))) svg.append('circle').attr('r', 4).attr('cx', x(c.slots[this.at]!)).attr('cy', y(this.rate(p, this.at))).attr('fill', categorical(theme, p));
    });
    this.svg.onpointermove = (e) => {
      const slot = Math.min(c.slots.length - 1, Math.max(0, c.slots.findIndex((s) => s >= x.invert(e.offsetX))));
      showTip(e, `${c.slots[slot]} slots per layer`, c.policies.map((name, p) => [name, percent(this.rate(p, slot))]));
    };
    this.svg.onpointerleave = hideTip;
    this.svg.onclick = (e) => {
      this.at = Math.min(c.slots.length - 1, Math.max(0, c.slots.findIndex((s) => s >= x.invert(e.offsetX))));
      this.slot.value = String(this.at);
      this.draw();
    };
    this.element.querySelector('output')!.textContent = String(c.slots[this.at]);
    this.writeTable();
  }

  private writeTable(): void {
    const c = runOf(this.app).cache!, { theme } = this.app.store.now;
    const speed = Number(this.bandwidth.value) * 1e9, sized = c.bytes_per_token;
    fill(this.head, ...['Policy', 'Hit rate', ...(sized ? ['Bytes read per token', 'Ceiling, tokens/s'] : [])].map((t) => h('th', null, t)));
    fill(this.table, ...c.policies.map((name, p) => {
      const swatch = h('i', { class: 'swatch' }), miss = sized ? this.at3(sized, p, this.at) : 0;
      swatch.style.background = categorical(theme, p);
      return h('tr', null, h('td', { class: 'left' }, swatch, name), h('td', null, percent(this.rate(p, this.at))),
        ...(sized ? [h('td', null, bytes(Math.round(miss))), h('td', null, miss > 0 ? real(speed / miss) : '∞')] : []));
    }));
    this.caption.textContent = 'An access is one ubatch that reads an expert’s slices; a hit finds them in the cache. ' +
      `Left out of the rate: the ${percent(c.cold)} of accesses that are an expert’s first, which no cache can hold. ` +
      '“static” is fitted on the other half of the trace; “Belady” knows the future. The ceiling counts the missing slices alone, at the bandwidth given.';
  }
}
