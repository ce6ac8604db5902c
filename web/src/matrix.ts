// A matrix on the page: the raster, its axes, a legend, zoom, a cursor for mouse and keyboard.

import { select as d3select } from 'd3-selection';
import { axisLeft, axisTop } from 'd3-axis';
import { scaleLinear } from 'd3-scale';
import { zoom as d3zoom, zoomIdentity, type ZoomTransform } from 'd3-zoom';
import { cssOf, inkOn } from './color';
import { h } from './dom';
import { Raster, type Rect } from './raster';
import { hideTip, showTip, type TipRows } from './tooltip';

export interface Cell { col: number; row: number }

export interface MatrixOptions {
  label: string;                                     // for people who cannot see it
  xTitle: string;
  yTitle: string;
  rowLabel: (row: number) => string;
  colLabel: (col: number, row: number | null) => string;
  tip: (cell: Cell) => { title: string; rows: TipRows };
  cellText?: (cell: Cell) => string;                 // written into cells that are large enough
  onselect: (cell: Cell) => void;
  onopen?: (cell: Cell) => void;                     // Enter or a double click
  cellHeight?: [least: number, most: number];
  square?: boolean;
  gutter?: { width: number; title: string; draw: (ctx: CanvasRenderingContext2D, row: number, box: Rect) => void };
}

const margin = { top: 34, left: 44, bottom: 6, right: 8 };

export class Matrix {
  readonly element: HTMLElement;
  readonly raster = new Raster();
  private canvas = h('canvas', { class: 'matrix', tabindex: 0, role: 'application' });
  private overlay = h('canvas', { class: 'matrix-overlay', 'aria-hidden': 'true' });
  private svg = h('svg', { class: 'axes', 'aria-hidden': 'true' }) as SVGSVGElement;
  private transform: ZoomTransform = zoomIdentity;
  private zoomer = d3zoom<HTMLCanvasElement, unknown>();
  private plot: Rect = { x: 0, y: 0, width: 0, height: 0 };
  private marks: Cell[] = [];
  private hover: Cell | null = null;
  private reset: HTMLElement;

  constructor(private options: MatrixOptions) {
    this.reset = h('button', { type: 'button', class: 'zoom-reset', hidden: true, onclick: () => this.zoomTo(zoomIdentity) }, 'Whole picture');
    this.element = h('div', { class: 'matrix-box' }, this.canvas, this.svg, this.overlay, this.reset);
    this.canvas.setAttribute('aria-label', options.label);
    this.listen();
    this.zoomer
      .filter((e: MouseEvent & WheelEvent) => (e.type === 'wheel' ? e.ctrlKey || e.metaKey : e.type === 'mousedown' ? this.transform.k > 1 && !e.button : e.type.startsWith('touch') ? this.transform.k > 1 || (e as unknown as TouchEvent).touches.length > 1 : !e.button && e.type !== 'dblclick'))
      .scaleExtent([1, 400])
      .on('zoom', (e: { transform: ZoomTransform }) => {
        this.transform = e.transform;
        this.reset.hidden = e.transform.k === 1;
        this.redraw();
      });
    d3select(this.canvas).call(this.zoomer).on('dblclick.zoom', null);
  }

  setCells(index: Uint8Array, cols: number, rows: number): void {
    const reshaped = cols !== this.raster.cols || rows !== this.raster.rows;
    this.raster.setCells(index, cols, rows);
    if (reshaped) this.layout();
  }
  setColors(table: Uint32Array): void {
    this.raster.setColors(table);
  }
  setLabel(text: string): void {
    this.canvas.setAttribute('aria-label', text);
  }
  // The cells that are selected elsewhere.
  mark(cells: Cell[]): void {
    this.marks = cells;
    this.drawOverlay();
  }

  private gutterWidth(): number {
    const g = this.options.gutter;
    return g ? (this.element.clientWidth < 480 ? g.width * 0.6 : g.width) : 0;
  }

  // Fits the canvas to its column; call when shown or resized.
  layout(): void {
    const { cols, rows } = this.raster;
    const width = this.element.clientWidth;
    if (width === 0 || cols === 0) return;
    const gutter = this.gutterWidth();
    const inner = width - margin.left - margin.right - gutter;
    const [least, most] = this.options.cellHeight ?? [4, 26];
    const cell = this.options.square ? Math.min(inner / cols, most) : Math.min(most, Math.max(least, 620 / rows));
    const plotWidth = this.options.square ? Math.max(cell, 1) * cols : inner;
    const plotHeight = Math.max(48, Math.min(this.options.square ? plotWidth * (rows / cols) : 1e9, Math.min(cell * rows, 1400)));
    this.plot = { x: margin.left, y: margin.top, width: Math.min(inner, plotWidth), height: plotHeight };
    const height = margin.top + plotHeight + margin.bottom;
    for (const c of [this.canvas, this.overlay]) {
      c.width = Math.round(width * devicePixelRatio);
      c.height = Math.round(height * devicePixelRatio);
      c.style.width = width + 'px';
      c.style.height = height + 'px';
    }
    this.element.style.height = height + 'px';
    this.svg.setAttribute('width', String(width));
    this.svg.setAttribute('height', String(height));
    const { x, y } = this.plot;
    const corner: [number, number] = [x, y], opposite: [number, number] = [x + this.plot.width, y + this.plot.height];
    this.zoomer.extent([corner, opposite]).translateExtent([corner, opposite]);
    this.redraw();
  }

  // The part of the matrix in view, in cells.
  view(): Rect {
    const t = this.transform, p = this.plot;
    const [x0, y0] = t.invert([p.x, p.y]), [x1, y1] = t.invert([p.x + p.width, p.y + p.height]);
    const sx = this.raster.cols / p.width, sy = this.raster.rows / p.height;
    return { x: (x0 - p.x) * sx, y: (y0 - p.y) * sy, width: (x1 - x0) * sx, height: (y1 - y0) * sy };
  }
  // Where a cell lies, in CSS pixels from the canvas's corner.
  boxOf(cell: Cell): Rect {
    const v = this.view(), p = this.plot;
    const w = p.width / v.width, hgt = p.height / v.height;
    return { x: p.x + (cell.col - v.x) * w, y: p.y + (cell.row - v.y) * hgt, width: w, height: hgt };
  }
  cellAt(x: number, y: number): Cell | null {
    const p = this.plot;
    if (x < p.x || y < p.y || x >= p.x + p.width || y >= p.y + p.height) return null;
    const v = this.view();
    const col = Math.floor(v.x + ((x - p.x) / p.width) * v.width), row = Math.floor(v.y + ((y - p.y) / p.height) * v.height);
    return col >= 0 && row >= 0 && col < this.raster.cols && row < this.raster.rows ? { col, row } : null;
  }

  redraw(): void {
    const ctx = this.canvas.getContext('2d')!;
    const { plot } = this;
    ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    ctx.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.raster.cols === 0 || plot.width === 0) return;
    const view = this.view();
    this.raster.draw(ctx, view, plot);
    this.drawGrid(ctx, view);
    this.drawGutter(ctx, view);
    this.drawAxes(view);
    this.drawOverlay();
  }

  private drawGrid(ctx: CanvasRenderingContext2D, view: Rect): void {
    const { plot } = this;
    const w = plot.width / view.width, hgt = plot.height / view.height;
    if (w < 7 || hgt < 7) return;
    ctx.fillStyle = getComputedStyle(this.element).getPropertyValue('--panel');
    const gap = w > 14 && hgt > 12 ? 1.5 : 1;
    for (let c = Math.ceil(view.x); c <= view.x + view.width; c++) ctx.fillRect(plot.x + (c - view.x) * w - gap / 2, plot.y, gap, plot.height);
    for (let r = Math.ceil(view.y); r <= view.y + view.height; r++) ctx.fillRect(plot.x, plot.y + (r - view.y) * hgt - gap / 2, plot.width, gap);
    if (this.options.cellText && w >= 38 && hgt >= 15) this.drawTexts(ctx, view);
  }

  private drawTexts(ctx: CanvasRenderingContext2D, view: Rect): void {
    ctx.font = '11px ' + getComputedStyle(this.element).getPropertyValue('--mono');
    ctx.textAlign = 'center';
    ctx.textBaseline = 'middle';
    for (let row = Math.floor(view.y); row < Math.min(this.raster.rows, view.y + view.height); row++) {
      for (let col = Math.floor(view.x); col < Math.min(this.raster.cols, view.x + view.width); col++) {
        const b = this.boxOf({ col, row });
        ctx.fillStyle = inkOn(this.raster.colorAt(col, row));
        ctx.fillText(this.options.cellText!({ col, row }), b.x + b.width / 2, b.y + b.height / 2);
      }
    }
  }

  private drawGutter(ctx: CanvasRenderingContext2D, view: Rect): void {
    const g = this.options.gutter;
    if (!g) return;
    const { plot } = this, hgt = plot.height / view.height, width = this.gutterWidth();
    ctx.save();
    ctx.beginPath();
    ctx.rect(plot.x + plot.width, plot.y, width, plot.height);
    ctx.clip();
    for (let r = Math.floor(view.y); r < Math.min(this.raster.rows, view.y + view.height); r++) {
      g.draw(ctx, r, { x: plot.x + plot.width + 10, y: plot.y + (r - view.y) * hgt, width: width - 14, height: hgt });
    }
    ctx.restore();
  }

  private drawAxes(view: Rect): void {
    const { plot, options } = this;
    const x = scaleLinear([view.x - 0.5, view.x + view.width - 0.5], [plot.x, plot.x + plot.width]);
    const y = scaleLinear([view.y - 0.5, view.y + view.height - 0.5], [plot.y, plot.y + plot.height]);
    const whole = (scale: typeof x, n: number, most: number) => scale.ticks(Math.min(n, most)).filter((t) => Number.isInteger(t) && t >= 0 && t < most);
    const svg = d3select(this.svg);
    svg.selectAll('*').remove();
    svg.append('g').attr('transform', `translate(0,${plot.y - 1})`)
      .call(axisTop(x).tickValues(whole(x, Math.floor(plot.width / 44), this.raster.cols)).tickFormat((v) => options.colLabel(Number(v), null)).tickSize(3).tickPadding(3))
      .select('.domain').remove();
    svg.append('g').attr('transform', `translate(${plot.x - 1},0)`)
      .call(axisLeft(y).tickValues(whole(y, Math.floor(plot.height / 20), this.raster.rows)).tickFormat((v) => options.rowLabel(Number(v))).tickSize(3).tickPadding(3))
      .select('.domain').remove();
    svg.append('text').attr('class', 'axis-title').attr('x', plot.x + plot.width).attr('y', 10).attr('text-anchor', 'end').text(options.xTitle);
    svg.append('text').attr('class', 'axis-title').attr('x', 2).attr('y', 10).text(options.yTitle);
    if (options.gutter) {
      svg.append('text').attr('class', 'axis-title').attr('x', plot.x + plot.width + this.gutterWidth()).attr('y', 26).attr('text-anchor', 'end').text(options.gutter.title);
    }
  }

  private drawOverlay(): void {
    const ctx = this.overlay.getContext('2d')!;
    ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    ctx.clearRect(0, 0, this.overlay.width, this.overlay.height);
    if (this.plot.width === 0) return;
    const { plot } = this;
    ctx.save();
    ctx.beginPath();
    ctx.rect(plot.x - 3, plot.y - 3, plot.width + 6, plot.height + 6);
    ctx.clip();
    const style = getComputedStyle(this.element);
    for (const cell of this.marks) this.outline(ctx, cell, style.getPropertyValue('--mark'), 2.5, style.getPropertyValue('--panel'));
    if (this.hover) this.outline(ctx, this.hover, style.getPropertyValue('--ink'), 1.5, style.getPropertyValue('--panel'));
    ctx.restore();
  }

  private outline(ctx: CanvasRenderingContext2D, cell: Cell, color: string, width: number, halo: string): void {
    const b = this.boxOf(cell);
    const w = Math.max(b.width, 5), hgt = Math.max(b.height, 5);
    const x = b.x + b.width / 2 - w / 2, y = b.y + b.height / 2 - hgt / 2;
    ctx.strokeStyle = halo;
    ctx.lineWidth = width + 2;
    ctx.strokeRect(x, y, w, hgt);
    ctx.strokeStyle = color;
    ctx.lineWidth = width;
    ctx.strokeRect(x, y, w, hgt);
  }

  private listen(): void {
    const at = (e: MouseEvent) => this.cellAt(e.offsetX, e.offsetY);
    this.canvas.addEventListener('pointermove', (e) => {
      const cell = at(e);
      if (cell?.col !== this.hover?.col || cell?.row !== this.hover?.row) {
        this.hover = cell;
        this.drawOverlay();
      }
      if (!cell) return hideTip();
      const tip = this.options.tip(cell);
      showTip(e, tip.title, tip.rows);
    });
    this.canvas.addEventListener('pointerleave', () => {
      this.hover = null;
      this.drawOverlay();
      hideTip();
    });
    this.canvas.addEventListener('click', (e) => {
      const cell = at(e);
      if (cell) this.options.onselect(cell);
    });
    this.canvas.addEventListener('dblclick', (e) => {
      const cell = at(e);
      if (cell) this.options.onopen?.(cell);
    });
    this.canvas.addEventListener('keydown', (e) => this.key(e));
  }

  private key(e: KeyboardEvent): void {
    const step: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const cell = this.marks[0] ?? { col: 0, row: 0 };
    const { cols, rows } = this.raster;
    if (e.key in step && !e.altKey && !e.ctrlKey && !e.metaKey) {
      const [dx, dy] = step[e.key]!;
      const far = e.shiftKey ? 10 : 1;
      const next = this.marks.length === 0 ? cell
        : { col: Math.min(cols - 1, Math.max(0, cell.col + dx * far)), row: Math.min(rows - 1, Math.max(0, cell.row + dy * far)) };
      this.options.onselect(next);
    } else if (e.key === 'Home' || e.key === 'End') {
      this.options.onselect({ col: e.key === 'Home' ? 0 : cols - 1, row: cell.row });
    } else if (e.key === 'Enter' && this.marks.length > 0) {
      this.options.onopen?.(cell);
    } else if (e.key === '+' || e.key === '=' || e.key === '-') {
      d3select(this.canvas).call(this.zoomer.scaleBy, e.key === '-' ? 1 / 1.5 : 1.5);
    } else if (e.key === '0') {
      this.zoomTo(zoomIdentity);
    } else {
      return;
    }
    e.preventDefault();
  }

  private zoomTo(t: ZoomTransform): void {
    d3select(this.canvas).call(this.zoomer.transform, t);
  }
}

// A colour bar with its scale.
export class Legend {
  readonly element = h('div', { class: 'legend' });
  private bar = h('canvas', { width: 254, height: 1, 'aria-hidden': 'true' });
  private low = h('span', null);
  private mid = h('span', null);
  private high = h('span', null);
  private nothing = h('span', { class: 'nothing' });

  constructor() {
    this.element.append(h('div', { class: 'legend-bar' }, this.bar, h('div', { class: 'legend-scale' }, this.low, this.mid, this.high)), this.nothing);
  }
  set(table: Uint32Array, low: string, mid: string, high: string, nothing: string | null): void {
    const image = new ImageData(254, 1);
    new Uint32Array(image.data.buffer).set(table.subarray(0, 254));
    this.bar.getContext('2d')!.putImageData(image, 0, 0);
    this.low.textContent = low;
    this.mid.textContent = mid;
    this.high.textContent = high;
    this.nothing.textContent = nothing ?? '';
    this.nothing.hidden = nothing === null;
    this.nothing.style.setProperty('--swatch', cssOf(table[255]!));
  }
}
