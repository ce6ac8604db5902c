// The memory view's first picture: the file from left to right, every entry where it lies. A narrow strip above shows
// the whole file and which part of it the large one shows.

import { zoom as d3zoom, type ZoomTransform } from 'd3-zoom';
import { select as d3select } from 'd3-selection';
import { clearedContext, fitCanvas } from '../canvas';
import { h } from '../dom';
import { entryName, isSlice } from '../memory_map';
import type { Memory } from '../contract';
import { FileAxis } from './memory_axis';
import { opacityOf, type EntryLook } from './memory_look';

const height = 132;
const overviewHeight = 26;
const bars = { top: 24, height: height - 24 - 20 }; // names of layers above, of entries below

// Entries that lie side by side and belong to one layer.
interface Stretch {
  layer: number;
  from: number; // bytes
  to: number;
}

function stretchesOf(m: Memory, axis: FileAxis): Stretch[] {
  const out: Stretch[] = [];
  m.layer.forEach((layer, i) => {
    const last = out.at(-1);
    if (last?.layer === layer) return;
    if (last) last.to = axis.begin[i]!;
    out.push({ layer, from: axis.begin[i]!, to: axis.total });
  });
  return out;
}

export class MemoryStrip {
  readonly canvas = h('canvas', {
    class: 'strip',
    tabindex: 0,
    role: 'application',
    'aria-label': 'The model file, byte by byte. Arrow keys move from entry to entry, plus and minus zoom.',
  });
  readonly overview = h('canvas', { class: 'overview', 'aria-hidden': 'true' });
  readonly axis: FileAxis;
  private zoomer = d3zoom<HTMLCanvasElement, unknown>();
  private stretches: Stretch[];

  // onzoom: another part of the file is in view; draw again.
  constructor(
    public m: Memory, // another one shows other experts in the same places
    onzoom: () => void,
  ) {
    this.axis = new FileAxis(m);
    this.stretches = stretchesOf(m, this.axis);
    this.zoomer
      .scaleExtent([1, 1e6])
      .filter((e: MouseEvent) => !e.button && e.type !== 'dblclick')
      .on('zoom', (e: { transform: ZoomTransform }) => {
        this.axis.transform = e.transform;
        onzoom();
      });
    d3select(this.canvas).call(this.zoomer);
    this.overview.addEventListener('click', (e) => this.centerOn((e.offsetX / this.axis.width) * this.axis.total));
  }

  // Fits both canvases to their column; its width in pixels, 0 while it is out of sight.
  layout(): number {
    const width = this.canvas.parentElement!.clientWidth;
    if (width === 0) return 0;
    this.axis.width = width;
    fitCanvas(this.overview, width, overviewHeight);
    fitCanvas(this.canvas, width, height);
    const box: [[number, number], [number, number]] = [
      [0, 0],
      [width, height],
    ];
    this.zoomer.extent(box).translateExtent(box);
    return width;
  }
  zoomTo(from: number, to: number): void {
    d3select(this.canvas).call(this.zoomer.transform, this.axis.zoomOn(from, to));
  }
  zoomBy(factor: number): void {
    d3select(this.canvas).call(this.zoomer.scaleBy, factor);
  }
  entryAtPixel(x: number): number | null {
    return this.axis.entryAt(this.axis.byteAt(x));
  }

  draw(look: EntryLook): void {
    this.drawOverview(look);
    const ctx = clearedContext(this.canvas);
    const { top, height } = bars;
    this.drawBars(ctx, (byte) => this.axis.x(byte), look, top, height, true);
    for (const i of look.lit) this.fillBox(ctx, i, top - 5, 4, look.mark);
    for (const i of look.selected) this.outline(ctx, i, look.mark);
    if (look.focus !== null) this.outline(ctx, look.focus, look.ink);
    ctx.font = '11px ' + getComputedStyle(this.canvas).getPropertyValue('--sans');
    ctx.fillStyle = look.quiet;
    ctx.textBaseline = 'alphabetic';
    this.drawLayerNames(ctx, top - 9);
    this.drawEntryNames(ctx, top + height + 14);
  }

  private centerOn(byte: number): void {
    const [from, to] = this.axis.view;
    const half = (to - from) / 2;
    this.zoomTo(Math.max(0, byte - half), Math.min(this.axis.total, byte + half));
  }

  private drawOverview(look: EntryLook): void {
    const { axis } = this;
    const ctx = clearedContext(this.overview);
    this.drawBars(ctx, (byte) => axis.xOfWhole(byte), look, 3, overviewHeight - 6, false);
    if (axis.showsAll) return;
    const [from, to] = axis.view;
    ctx.strokeStyle = look.mark;
    ctx.lineWidth = 2;
    ctx.strokeRect(axis.xOfWhole(from), 1, Math.max(3, axis.xOfWhole(to - from)), overviewHeight - 2);
  }

  // Entries side by side; those thinner than a pixel share one, which shows the one of the highest rank, or their mean.
  private drawBars(
    ctx: CanvasRenderingContext2D,
    x: (byte: number) => number,
    look: EntryLook,
    top: number,
    height: number,
    separate: boolean,
  ): void {
    const { axis } = this;
    let column = -1;
    let best = -1;
    let from = 0; // the column's first entry
    let to = 0;
    const flush = () => {
      if (best < 0) return;
      ctx.fillStyle = look.meanColorOf ? look.meanColorOf(from, to) : look.colorOf(best);
      ctx.fillRect(column, top, 1, height);
      best = -1;
    };
    for (let i = 0; i < axis.begin.length; i++) {
      const a = x(axis.begin[i]!);
      const b = x(axis.end(i));
      if (b < 0 || a > axis.width) continue;
      ctx.globalAlpha = opacityOf(look, i);
      if (b - a < 1.2) {
        if (Math.floor(a) !== column) {
          flush();
          column = Math.floor(a);
          from = i;
        }
        to = i + 1;
        if (look.shown(i) && (best < 0 || look.rankOf(i) > look.rankOf(best))) best = i;
        continue;
      }
      flush();
      ctx.fillStyle = look.colorOf(i);
      const space = separate && b - a > 4 ? 1 : 0;
      ctx.fillRect(a, top, b - a - space, height);
    }
    ctx.globalAlpha = 1;
    flush();
  }

  private inView({ x, width }: { x: number; width: number }): boolean {
    return x + width >= 0 && x <= this.axis.width;
  }
  private fillBox(ctx: CanvasRenderingContext2D, entry: number, top: number, height: number, color: string): void {
    const box = this.axis.boxOf(entry);
    if (!this.inView(box)) return;
    ctx.fillStyle = color;
    ctx.fillRect(box.x, top, Math.max(1.5, box.width - (box.width > 4 ? 1 : 0)), height);
  }
  private outline(ctx: CanvasRenderingContext2D, entry: number, color: string): void {
    const box = this.axis.boxOf(entry);
    if (!this.inView(box)) return;
    ctx.strokeStyle = color;
    ctx.lineWidth = 2;
    ctx.strokeRect(box.x, bars.top - 1, Math.max(3, box.width), bars.height + 2);
  }

  // Names where there is room.
  private drawLayerNames(ctx: CanvasRenderingContext2D, y: number): void {
    const { axis } = this;
    let rightmost = -1;
    for (const { layer, from, to } of this.stretches) {
      const a = Math.max(0, axis.x(from));
      const b = Math.min(axis.width, axis.x(to));
      const text = layer < 0 ? '·' : b - a > 60 ? `layer ${layer}` : String(layer);
      const w = ctx.measureText(text).width;
      if (b <= a || a < rightmost || a + w > axis.width) continue;
      ctx.fillText(text, a + 2, y);
      rightmost = a + w + 6;
    }
  }
  private drawEntryNames(ctx: CanvasRenderingContext2D, y: number): void {
    const { axis, m } = this;
    for (let i = 0; i < axis.begin.length; i++) {
      const box = axis.boxOf(i);
      if (box.width < 16 || !this.inView(box)) continue;
      const room = Math.min(axis.width, box.x + box.width) - Math.max(0, box.x) - 6;
      let text = isSlice(m, i) && room < 90 ? String(m.expert[i]) : entryName(m, i);
      while (text.length > 1 && ctx.measureText(text).width > room)
        text = text.slice(0, -2) + (text.length > 2 ? '…' : '');
      if (room >= 10 && text.length > 0 && ctx.measureText(text).width <= room)
        ctx.fillText(text, Math.max(0, box.x) + 3, y);
    }
  }
}
