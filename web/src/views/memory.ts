// Memory: the model file from its first byte to its last. A strip shows every tensor and every expert slice where it
// lies; below it every layer is a row of its own. Colour is how often it was read.

import { zoom as d3zoom, zoomIdentity, type ZoomTransform } from 'd3-zoom';
import { select as d3select } from 'd3-selection';
import { runOf, type App, type View } from '../app';
import { colorTable, cssOf } from '../color';
import { fill, h, select } from '../dom';
import { bytes, integer, percent, plural } from '../format';
import { Legend } from '../legend';
import { entryName, isSlice, sliceIndex } from '../memory';
import { blockName, TileReader } from '../model';
import { heatScale, largest, showLegend } from '../scale';
import { hideTip, showTip, type TipRows } from '../tooltip';
import type { Memory } from '../contract';
import { LayerRows } from './memory_rows';

const stripHeight = 132;
const overviewHeight = 26;

export class MemoryView implements View {
  readonly name = 'memory';
  readonly title = 'Memory';
  readonly element: HTMLElement;
  private m: Memory;
  private strip = h('canvas', {
    class: 'strip',
    tabindex: 0,
    role: 'application',
    'aria-label': 'The model file, byte by byte. Arrow keys move from entry to entry, plus and minus zoom.',
  });
  private overview = h('canvas', { class: 'overview', 'aria-hidden': 'true' });
  private rows: LayerRows;
  private legend = new Legend();
  private facts = h('div', { class: 'tiles' });
  private caption = h('p', { class: 'caption' });
  private where = h('div', { class: 'quiet where' });
  private layerFilter: HTMLSelectElement;
  private componentFilter: HTMLSelectElement;
  private reset = h(
    'button',
    { type: 'button', class: 'button', onclick: () => this.zoomTo(0, this.total) },
    'Whole file',
  );
  private toSelected = h(
    'button',
    { type: 'button', class: 'button', onclick: () => this.zoomToSelected() },
    'Zoom to selection',
  );
  private zoomer = d3zoom<HTMLCanvasElement, unknown>();
  private transform: ZoomTransform = zoomIdentity;
  private begin: Float64Array; // [entry] bytes from the beginning of the first file
  readonly total: number; // bytes of all files
  private index: Uint8Array = new Uint8Array(); // [entry] colour
  private shown: Uint8Array; // [entry] 1: passes the filters
  private focus: number | null = null; // entry
  private layers: number[];
  private lit = new Set<number>(); // slices that the selected token reads
  private whole = ''; // colour of tensors outside the experts that were read

  constructor(
    private app: App,
    memory: Memory,
  ) {
    this.m = memory;
    const start: number[] = [0];
    memory.files.forEach((f, i) => start.push(start[i]! + f.size));
    this.total = start.at(-1)!;
    this.begin = Float64Array.from(memory.offset, (o, i) => o + start[memory.part[i]!]!);
    this.shown = new Uint8Array(memory.offset.length).fill(1);
    this.layers = [...new Set(memory.layer)].sort((a, b) => a - b);
    this.rows = new LayerRows(memory, this.layers);
    this.layerFilter = select(
      'Layer',
      [
        { value: NaN, label: 'All layers' },
        ...this.layers.map((l) => ({ value: l, label: l < 0 ? 'Outside the layers' : `Layer ${l}` })),
      ],
      () => this.filter(),
    );
    this.componentFilter = select(
      'Component',
      [{ value: -1, label: 'All components' }, ...memory.components.map((c, i) => ({ value: i, label: c }))],
      () => this.filter(),
    );
    this.element = h(
      'section',
      { class: 'card' },
      h(
        'div',
        { class: 'toolbar' },
        this.layerFilter,
        this.componentFilter,
        this.toSelected,
        this.reset,
        this.legend.element,
      ),
      this.facts,
      h('div', { class: 'strips' }, this.overview, this.strip, this.where),
      this.caption,
      h('h4', null, 'Every layer as a row; all layers on one scale'),
      this.rows.canvas,
    );
    this.listen();
  }

  update(changed: ReadonlySet<string> | 'all'): void {
    const touches = (...keys: string[]) => changed === 'all' || keys.some((k) => changed.has(k));
    this.m = this.app.page.memory!; // a live page gets new counts
    if (touches('run', 'theme')) this.recolor();
    if (touches('run', 'token')) this.lightUp();
    if (changed !== 'all' && touches('block', 'expert')) this.focus = this.selected()[0] ?? null;
    if (changed === 'all') this.layout();
    else this.draw();
  }
  resize(): void {
    this.layout();
  }
  // For tests: the entry's accesses, its box in the strip, and what colour it has there.
  accesses(entry: number): number {
    return this.m.accesses[this.app.store.now.run]?.[entry] ?? -1;
  }
  boxOf(entry: number): { x: number; width: number } {
    const x = this.x(this.begin[entry]!);
    return { x, width: this.x(this.begin[entry]! + this.m.size[entry]!) - x };
  }
  // Slices by heat; other tensors, which every ubatch reads, in one calm colour, so that they do not drown the experts.
  colorOf(entry: number): string {
    const index = this.index[entry]!;
    return !isSlice(this.m, entry) && index !== 255
      ? this.whole
      : cssOf(colorTable(this.app.store.now.theme, 'heat')[index]!);
  }
  slicesLit(): number[] {
    return [...this.lit];
  }
  passes(entry: number): boolean {
    return this.shown[entry] === 1;
  }

  private recolor(): void {
    const { run, theme } = this.app.store.now;
    const m = this.m;
    const reads = m.accesses[run];
    const values = Float64Array.from({ length: m.offset.length }, (_, i) =>
      reads && reads[i]! >= 0 ? reads[i]! : NaN,
    );
    const scale = heatScale(largest(values.filter((_, i) => isSlice(m, i))) || 1);
    this.whole = getComputedStyle(document.documentElement).getPropertyValue('--whole');
    this.index = scale.index(values);
    showLegend(this.legend, theme, scale, (v) => integer(Math.round(v)), 'not read');
    let slices = 0;
    let read = 0;
    let readBytes = 0;
    let sliceBytes = 0;
    let unknown = 0;
    for (let i = 0; i < values.length; i++) {
      if (!isSlice(m, i)) {
        if (Number.isNaN(values[i]!)) unknown++;
        continue;
      }
      slices++;
      sliceBytes += m.size[i]!;
      if (values[i]! > 0) {
        read++;
        readBytes += m.size[i]!;
      }
    }
    const tile = (name: string, value: string, note: string) =>
      h('div', { class: 'tile' }, h('span', null, name), h('b', null, value), h('small', null, note));
    fill(
      this.facts,
      tile('file', bytes(this.total), plural(m.files.length, 'part') + ', ' + plural(m.tensors.length, 'tensor')),
      tile(
        'expert slices',
        integer(slices),
        bytes(sliceBytes) + ', ' + percent(sliceBytes / this.total) + ' of the file',
      ),
      tile('slices read', integer(read), bytes(readBytes)),
      tile('never read', integer(slices - read), bytes(sliceBytes - readBytes)),
    );
    this.caption.textContent =
      'Colour: ubatches of the trace that read an expert’s slice; tensors outside the experts are blue-grey where they were read. ' +
      (unknown > 0
        ? 'Tensors outside the experts are grey where the trace does not say who reads them (record with --capture access).'
        : '') +
      ' The wheel zooms, dragging moves, a click selects the expert.';
  }

  private selected(): number[] {
    const { block, expert } = this.app.store.now;
    const run = runOf(this.app);
    return expert === null ? [] : [...sliceIndex(this.m, run).slicesOf(run.blocks[block]!.first_cell + expert)];
  }

  // The slices that the ubatch of the selected token reads.
  private lightUp(): void {
    this.lit.clear();
    const { token } = this.app.store.now;
    const run = runOf(this.app);
    const tile = this.app.tile();
    if (token === null || token < tile.first || token >= tile.first + tile.n) return;
    const reader = new TileReader(tile, run);
    const index = sliceIndex(this.m, run);
    const [begin, end] = reader.ubatchOf(token - tile.first);
    for (let i = begin; i < end; i++) {
      run.blocks.forEach((b, block) => {
        for (const s of reader.selections(i, block))
          for (const slice of index.slicesOf(b.first_cell + s.expert)) this.lit.add(slice);
      });
    }
  }

  private filter(): void {
    const layer = this.layerFilter.selectedIndex === 0 ? null : this.layers[this.layerFilter.selectedIndex - 1]!;
    const component = this.componentFilter.selectedIndex - 1;
    const m = this.m;
    let first = Infinity;
    let last = 0;
    for (let i = 0; i < this.shown.length; i++) {
      const on = (layer === null || m.layer[i] === layer) && (component < 0 || m.component[i] === component);
      this.shown[i] = on ? 1 : 0;
      if (on) {
        first = Math.min(first, this.begin[i]!);
        last = Math.max(last, this.begin[i]! + m.size[i]!);
      }
    }
    if (layer !== null && last > first) this.zoomTo(first, last);
    else this.zoomTo(0, this.total);
  }

  // ---- geometry ----------------------------------------------------------------------------------------------------

  private width = 0;
  private get view(): [number, number] {
    const perPixel = this.total / this.width / this.transform.k;
    const from = (-this.transform.x / this.transform.k) * (this.total / this.width);
    return [from, from + perPixel * this.width];
  }
  private x(byte: number): number {
    const [from, to] = this.view;
    return ((byte - from) / (to - from)) * this.width;
  }
  private entryAt(byte: number): number | null {
    let low = 0;
    let high = this.begin.length - 1;
    while (low < high) {
      const mid = (low + high + 1) >> 1;
      if (this.begin[mid]! <= byte) low = mid;
      else high = mid - 1;
    }
    return byte >= this.begin[low]! && byte < this.begin[low]! + this.m.size[low]! ? low : null;
  }
  zoomTo(from: number, to: number): void {
    const pad = (to - from) * 0.02;
    const k = Math.min(this.total / (to - from + 2 * pad), 1e6);
    const fits = to - from >= this.total * 0.999;
    const t = fits ? zoomIdentity : zoomIdentity.translate((-(from - pad) / this.total) * this.width * k, 0).scale(k);
    d3select(this.strip).call(this.zoomer.transform, t);
  }
  private zoomToSelected(): void {
    const i = this.focus ?? this.selected()[0];
    if (i !== undefined) this.zoomTo(this.begin[i]!, this.begin[i]! + this.m.size[i]!);
  }

  private layout(): void {
    const width = this.strip.parentElement!.clientWidth;
    if (width === 0) return;
    this.width = width;
    const size = (c: HTMLCanvasElement, height: number) => {
      c.width = Math.round(width * devicePixelRatio);
      c.height = Math.round(height * devicePixelRatio);
      c.style.width = width + 'px';
      c.style.height = height + 'px';
    };
    size(this.overview, overviewHeight);
    size(this.strip, stripHeight);
    size(this.rows.canvas, this.rows.height);
    this.zoomer
      .extent([
        [0, 0],
        [width, stripHeight],
      ])
      .translateExtent([
        [0, 0],
        [width, stripHeight],
      ]);
    this.draw();
  }

  // ---- drawing -----------------------------------------------------------------------------------------------------

  private context(c: HTMLCanvasElement): CanvasRenderingContext2D {
    const ctx = c.getContext('2d')!;
    ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    ctx.clearRect(0, 0, c.width, c.height);
    return ctx;
  }

  private draw(): void {
    if (this.width === 0) return;
    const style = getComputedStyle(this.element);
    const color = {
      panel: style.getPropertyValue('--panel'),
      mark: style.getPropertyValue('--mark'),
      ink: style.getPropertyValue('--ink'),
      quiet: style.getPropertyValue('--quiet'),
      raised: style.getPropertyValue('--raised'),
    };
    this.drawOverview(color);
    this.drawStrip(color);
    const selected = new Set(this.selected());
    this.rows.draw(this.context(this.rows.canvas), this.width, {
      quiet: color.quiet,
      mark: color.mark,
      colorOf: (i) => this.colorOf(i),
      shown: (i) => this.passes(i),
      lit: (i) => this.lit.has(i),
      selected: (i) => selected.has(i),
    });
    const [from, to] = this.view;
    this.where.textContent =
      `bytes ${integer(Math.max(0, Math.round(from)))} – ${integer(Math.min(this.total, Math.round(to)))}` +
      (this.focus !== null ? ` · ${entryName(this.m, this.focus)}` : '');
    this.toSelected.disabled = this.focus === null && this.selected().length === 0;
  }

  // Entries side by side; those thinner than a pixel share one, which shows the hottest of them.
  private drawBars(
    ctx: CanvasRenderingContext2D,
    x: (byte: number) => number,
    width: number,
    y: number,
    height: number,
    separate: boolean,
  ): void {
    const m = this.m;
    // Which of several entries in one column of pixels is shown: the hottest slice, else a tensor that was read.
    const rank = (i: number) => (this.index[i] === 255 ? 0 : isSlice(m, i) ? 2 + this.index[i]! : 1);
    let column = -1;
    let best = -1;
    const flush = () => {
      if (best < 0) return;
      ctx.fillStyle = this.colorOf(best);
      ctx.fillRect(column, y, 1, height);
      best = -1;
    };
    for (let i = 0; i < this.begin.length; i++) {
      const a = x(this.begin[i]!);
      const b = x(this.begin[i]! + m.size[i]!);
      if (b < 0 || a > width) continue;
      ctx.globalAlpha = this.shown[i] ? 1 : 0.12;
      if (b - a < 1.2) {
        if (Math.floor(a) !== column) {
          flush();
          column = Math.floor(a);
        }
        if (this.shown[i] && (best < 0 || rank(i) > rank(best))) best = i;
        continue;
      }
      flush();
      ctx.fillStyle = this.colorOf(i);
      const space = separate && b - a > 4 ? 1 : 0;
      ctx.fillRect(a, y, b - a - space, height);
    }
    ctx.globalAlpha = 1;
    flush();
  }

  private drawOverview(color: Record<string, string>): void {
    const ctx = this.context(this.overview);
    this.drawBars(ctx, (b) => (b / this.total) * this.width, this.width, 3, overviewHeight - 6, false);
    const [from, to] = this.view;
    if (to - from >= this.total * 0.999) return;
    const a = (from / this.total) * this.width;
    const w = Math.max(3, ((to - from) / this.total) * this.width);
    ctx.strokeStyle = color['mark']!;
    ctx.lineWidth = 2;
    ctx.strokeRect(a, 1, w, overviewHeight - 2);
  }

  private drawStrip(color: Record<string, string>): void {
    const ctx = this.context(this.strip);
    const x = (b: number) => this.x(b);
    const top = 24;
    const height = stripHeight - top - 20;
    this.drawBars(ctx, x, this.width, top, height, true);
    for (const i of this.lit) this.box(ctx, i, top - 5, 4, color['mark']!, true);
    for (const i of this.selected()) this.box(ctx, i, top, height, color['mark']!, false);
    if (this.focus !== null) this.box(ctx, this.focus, top, height, color['ink']!, false);
    this.drawLabels(ctx, color, top, height);
  }
  private box(ctx: CanvasRenderingContext2D, i: number, y: number, height: number, color: string, full: boolean): void {
    const { x, width } = this.boxOf(i);
    if (x + width < 0 || x > this.width) return;
    if (full) {
      ctx.fillStyle = color;
      ctx.fillRect(x, y, Math.max(1.5, width - (width > 4 ? 1 : 0)), height);
    } else {
      ctx.strokeStyle = color;
      ctx.lineWidth = 2;
      ctx.strokeRect(x, y - 1, Math.max(3, width), height + 2);
    }
  }

  // Names where there is room: layers above, tensors and slices below.
  private drawLabels(ctx: CanvasRenderingContext2D, color: Record<string, string>, top: number, height: number): void {
    const m = this.m;
    ctx.font = '11px ' + getComputedStyle(this.element).getPropertyValue('--sans');
    ctx.fillStyle = color['quiet']!;
    ctx.textBaseline = 'alphabetic';
    let layer = NaN;
    let from = 0;
    let rightmost = -1;
    const layerLabel = (end: number) => {
      if (Number.isNaN(layer)) return;
      const a = Math.max(0, this.x(from));
      const b = Math.min(this.width, this.x(end));
      const text = layer < 0 ? '·' : b - a > 60 ? `layer ${layer}` : String(layer);
      const w = ctx.measureText(text).width;
      if (b <= a || a < rightmost || a + w > this.width) return;
      ctx.fillText(text, a + 2, top - 9);
      rightmost = a + w + 6;
    };
    for (let i = 0; i < this.begin.length; i++) {
      if (m.layer[i] !== layer) {
        layerLabel(this.begin[i]!);
        layer = m.layer[i]!;
        from = this.begin[i]!;
      }
      const { x, width } = this.boxOf(i);
      if (width < 16 || x + width < 0 || x > this.width) continue;
      const room = Math.min(this.width, x + width) - Math.max(0, x) - 6;
      let text = isSlice(m, i) && room < 90 ? String(m.expert[i]) : entryName(m, i);
      while (text.length > 1 && ctx.measureText(text).width > room)
        text = text.slice(0, -2) + (text.length > 2 ? '…' : '');
      if (room >= 10 && text.length > 0 && ctx.measureText(text).width <= room)
        ctx.fillText(text, Math.max(0, x) + 3, top + height + 14);
    }
    layerLabel(this.total);
  }

  // ---- hands -------------------------------------------------------------------------------------------------------

  private listen(): void {
    this.zoomer
      .scaleExtent([1, 1e6])
      .filter((e: MouseEvent) => !e.button && e.type !== 'dblclick')
      .on('zoom', (e: { transform: ZoomTransform }) => {
        this.transform = e.transform;
        this.draw();
      });
    d3select(this.strip).call(this.zoomer);
    const at = (e: MouseEvent) => {
      const [from, to] = this.view;
      return this.entryAt(from + (e.offsetX / this.width) * (to - from));
    };
    const hover = (e: MouseEvent, i: number | null) =>
      i === null ? hideTip() : showTip(e, entryName(this.m, i), this.tip(i));
    this.strip.addEventListener('pointermove', (e) => hover(e, at(e)));
    this.strip.addEventListener('pointerleave', hideTip);
    this.strip.addEventListener('click', (e) => this.pick(at(e)));
    this.rows.canvas.addEventListener('pointermove', (e) => hover(e, this.rows.entryAt(e.offsetX, e.offsetY)));
    this.rows.canvas.addEventListener('pointerleave', hideTip);
    this.rows.canvas.addEventListener('click', (e) => this.pick(this.rows.entryAt(e.offsetX, e.offsetY)));
    this.overview.addEventListener('click', (e) => {
      const [from, to] = this.view;
      const half = (to - from) / 2;
      const middle = (e.offsetX / this.width) * this.total;
      this.zoomTo(Math.max(0, middle - half), Math.min(this.total, middle + half));
    });
    this.strip.addEventListener('keydown', (e) => {
      if (e.key === 'ArrowRight' || e.key === 'ArrowLeft') {
        const by = e.key === 'ArrowRight' ? 1 : -1;
        let i = (this.focus ?? (by > 0 ? -1 : this.begin.length)) + by;
        while (i >= 0 && i < this.begin.length && !this.shown[i]) i += by;
        if (i >= 0 && i < this.begin.length) this.pick(i);
      } else if (e.key === '+' || e.key === '=' || e.key === '-')
        d3select(this.strip).call(this.zoomer.scaleBy, e.key === '-' ? 0.5 : 2);
      else if (e.key === '0') this.zoomTo(0, this.total);
      else if (e.key === 'Enter') this.zoomToSelected();
      else return;
      e.preventDefault();
    });
  }

  tip(i: number): TipRows {
    const m = this.m;
    const run = runOf(this.app);
    const reads = this.accesses(i);
    const rows: TipRows = [
      ['component', m.components[m.component[i]!]!],
      ['type', m.types[m.tensor[i]!]!],
      ['bytes', integer(m.size[i]!)],
      ['offset', integer(m.offset[i]!)],
      ['accesses', reads < 0 ? 'not recorded' : integer(reads)],
    ];
    if (isSlice(m, i)) {
      const block = sliceIndex(m, run).blockOf[i]!;
      rows.unshift(['expert', String(m.expert[i])]);
      if (block >= 0)
        rows.push(
          ['selections (rows)', integer(run.cells.count[run.blocks[block]!.first_cell + m.expert[i]!]!)],
          ['routed by', blockName(run.blocks[block]!)],
        );
    }
    if (m.files.length > 1) rows.push(['file', m.files[m.part[i]!]!.name]);
    return rows;
  }

  private pick(i: number | null): void {
    this.focus = i;
    if (i !== null) {
      this.app.say(
        entryName(this.m, i) +
          ': ' +
          this.tip(i)
            .map(([k, v]) => `${k} ${v}`)
            .join(', '),
      );
      const block = isSlice(this.m, i) ? sliceIndex(this.m, runOf(this.app)).blockOf[i]! : -1;
      if (block >= 0) this.app.store.set({ block, expert: this.m.expert[i]! });
      this.focus = i;
    }
    this.draw();
  }
}
