// A matrix on the page: the raster, its axes, zoom, a cursor for mouse and keyboard.

import { select as d3select } from 'd3-selection';
import { zoom as d3zoom, zoomIdentity, type ZoomTransform } from 'd3-zoom';
import { clearedContext, fitCanvas } from './canvas';
import { inkOn } from './color';
import { h } from './dom';
import { MatrixAxes, type AxisOptions } from './matrix_axes';
import { Raster, type Rect } from './raster';
import { hideTip, showTip, type TipRows } from './tooltip';

export interface Cell {
  col: number;
  row: number;
}

export interface MatrixOptions extends AxisOptions {
  label: string; // for people who cannot see it
  tip: (cell: Cell) => { title: string; rows: TipRows };
  cellText?: (cell: Cell) => string; // written into cells that are large enough
  cellNote?: (cell: Cell) => string; // below it, where there is room for two lines
  onselect: (cell: Cell) => void;
  onopen?: (cell: Cell) => void; // Enter or a double click
  cellHeight?: [least: number, most: number];
  labelWidth?: number; // of the row labels
  square?: boolean;
}

const margin = { top: 34, bottom: 6, right: 8 };

export class Matrix {
  readonly element: HTMLElement;
  readonly raster = new Raster();
  private canvas = h('canvas', { class: 'matrix', tabindex: 0, role: 'application' });
  private overlay = h('canvas', { class: 'matrix-overlay', 'aria-hidden': 'true' });
  private axes: MatrixAxes;
  private transform: ZoomTransform = zoomIdentity;
  private zoomer = d3zoom<HTMLCanvasElement, unknown>();
  private plot: Rect = { x: 0, y: 0, width: 0, height: 0 };
  private marks: Cell[] = [];
  private hover: Cell | null = null;
  private reset: HTMLElement;

  constructor(private options: MatrixOptions) {
    this.axes = new MatrixAxes(options);
    this.reset = h(
      'button',
      { type: 'button', class: 'zoom-reset', hidden: true, onclick: () => this.zoomTo(zoomIdentity) },
      'Reset zoom',
    );
    this.element = h('div', { class: 'matrix-box' }, this.canvas, this.axes.element, this.overlay, this.reset);
    this.canvas.setAttribute('aria-label', options.label);
    this.listen();
    this.zoomer
      .filter((e: MouseEvent & WheelEvent) =>
        e.type === 'wheel'
          ? e.ctrlKey || e.metaKey
          : e.type === 'mousedown'
            ? this.transform.k > 1 && !e.button
            : e.type.startsWith('touch')
              ? this.transform.k > 1 || (e as unknown as TouchEvent).touches.length > 1
              : !e.button && e.type !== 'dblclick',
      )
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
    const left = this.options.labelWidth ?? 44;
    const inner = width - left - margin.right - gutter;
    const [least, most] = this.options.cellHeight ?? [4, 38];
    const cell = this.options.square ? Math.min(inner / cols, most) : Math.min(most, Math.max(least, 620 / rows));
    const plotWidth = this.options.square ? Math.max(cell, 1) * cols : inner;
    const plotHeight = Math.max(
      48,
      Math.min(this.options.square ? plotWidth * (rows / cols) : 1e9, Math.min(cell * rows, 1400)),
    );
    this.plot = { x: left, y: margin.top, width: Math.min(inner, plotWidth), height: plotHeight };
    const height = margin.top + plotHeight + margin.bottom;
    for (const c of [this.canvas, this.overlay]) fitCanvas(c, width, height);
    this.element.style.height = height + 'px';
    this.axes.layout(width, height);
    const { x, y } = this.plot;
    const corner: [number, number] = [x, y];
    const opposite: [number, number] = [x + this.plot.width, y + this.plot.height];
    this.zoomer.extent([corner, opposite]).translateExtent([corner, opposite]);
    this.redraw();
  }

  // The part of the matrix in view, in cells.
  view(): Rect {
    const t = this.transform;
    const p = this.plot;
    const [x0, y0] = t.invert([p.x, p.y]);
    const [x1, y1] = t.invert([p.x + p.width, p.y + p.height]);
    const sx = this.raster.cols / p.width;
    const sy = this.raster.rows / p.height;
    return { x: (x0 - p.x) * sx, y: (y0 - p.y) * sy, width: (x1 - x0) * sx, height: (y1 - y0) * sy };
  }
  // Where a cell lies, in CSS pixels from the canvas's corner.
  boxOf(cell: Cell): Rect {
    const v = this.view();
    const p = this.plot;
    const w = p.width / v.width;
    const hgt = p.height / v.height;
    return { x: p.x + (cell.col - v.x) * w, y: p.y + (cell.row - v.y) * hgt, width: w, height: hgt };
  }
  cellAt(x: number, y: number): Cell | null {
    const p = this.plot;
    if (x < p.x || y < p.y || x >= p.x + p.width || y >= p.y + p.height) return null;
    const v = this.view();
    const col = Math.floor(v.x + ((x - p.x) / p.width) * v.width);
    const row = Math.floor(v.y + ((y - p.y) / p.height) * v.height);
    return col >= 0 && row >= 0 && col < this.raster.cols && row < this.raster.rows ? { col, row } : null;
  }

  // Where the cells go, in the canvas's own pixels.
  private devicePlot(): Rect {
    const p = this.plot;
    const at = (v: number) => Math.round(v * devicePixelRatio);
    return { x: at(p.x), y: at(p.y), width: at(p.x + p.width) - at(p.x), height: at(p.y + p.height) - at(p.y) };
  }

  redraw(): void {
    const ctx = clearedContext(this.canvas);
    const { plot } = this;
    if (this.raster.cols === 0 || plot.width === 0) return;
    const view = this.view();
    this.raster.draw(ctx, view, this.devicePlot());
    this.drawGrid(ctx, view);
    if (this.options.gutter) this.drawGutter(ctx, view, this.options.gutter);
    this.axes.draw(view, plot, this.raster.cols, this.raster.rows, this.gutterWidth());
    this.drawOverlay();
  }

  private drawGrid(ctx: CanvasRenderingContext2D, view: Rect): void {
    const { plot } = this;
    const w = plot.width / view.width;
    const hgt = plot.height / view.height;
    if (w < 7 || hgt < 7) return;
    ctx.fillStyle = getComputedStyle(this.element).getPropertyValue('--panel');
    const gap = w > 14 && hgt > 12 ? 1.5 : 1;
    for (let c = Math.ceil(view.x); c <= view.x + view.width; c++)
      ctx.fillRect(plot.x + (c - view.x) * w - gap / 2, plot.y, gap, plot.height);
    for (let r = Math.ceil(view.y); r <= view.y + view.height; r++)
      ctx.fillRect(plot.x, plot.y + (r - view.y) * hgt - gap / 2, plot.width, gap);
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
        const note = b.width >= 62 && b.height >= 34 ? (this.options.cellNote?.({ col, row }) ?? '') : '';
        const middle = b.y + b.height / 2 - (note ? 6 : 0);
        ctx.fillText(this.options.cellText!({ col, row }), b.x + b.width / 2, middle);
        if (note) this.drawNote(ctx, note, b.x + b.width / 2, middle + 13);
      }
    }
  }

  private drawNote(ctx: CanvasRenderingContext2D, text: string, x: number, y: number): void {
    const { font } = ctx;
    ctx.font = font.replace('11px', '9.5px');
    ctx.fillText(text, x, y);
    ctx.font = font;
  }

  // One bar for each row, or for each line of pixels where rows are thinner.
  private drawGutter(ctx: CanvasRenderingContext2D, view: Rect, gutter: NonNullable<AxisOptions['gutter']>): void {
    const { plot } = this;
    const style = getComputedStyle(this.element);
    const pitch = plot.height / view.height;
    const x = plot.x + plot.width + 10;
    const width = this.gutterWidth() - 14;
    const height = Math.max(1, Math.min(pitch - 2, 8));
    const last = Math.min(this.raster.rows, view.y + view.height);
    const step = Math.max(1, Math.ceil(1 / pitch));
    const bars = (color: string, from: (row: number) => number, to: (row: number) => number, more = 0) => {
      ctx.fillStyle = style.getPropertyValue(color);
      for (let r = Math.floor(view.y); r < last; r += step) {
        const y = plot.y + (r + 0.5 - view.y) * pitch - height / 2;
        if (y >= plot.y - height / 2 && y < plot.y + plot.height)
          ctx.fillRect(x + width * from(r) - more, y - more, width * (to(r) - from(r)) + 2 * more, height + 2 * more);
      }
    };
    const none = () => 0;
    bars('--line', none, () => 1);
    bars('--quiet', none, gutter.value);
    bars('--mark', gutter.mark, gutter.mark, 0.75);
  }

  private drawOverlay(): void {
    const ctx = clearedContext(this.overlay);
    if (this.plot.width === 0) return;
    const { plot } = this;
    ctx.save();
    ctx.beginPath();
    ctx.rect(plot.x - 3, plot.y - 3, plot.width + 6, plot.height + 6);
    ctx.clip();
    const style = getComputedStyle(this.element);
    for (const cell of this.marks)
      this.outline(ctx, cell, style.getPropertyValue('--mark'), 2.5, style.getPropertyValue('--panel'));
    if (this.hover)
      this.outline(ctx, this.hover, style.getPropertyValue('--ink'), 1.5, style.getPropertyValue('--panel'));
    ctx.restore();
  }

  private outline(ctx: CanvasRenderingContext2D, cell: Cell, color: string, width: number, halo: string): void {
    const b = this.boxOf(cell);
    const w = Math.max(b.width, 5);
    const hgt = Math.max(b.height, 5);
    const x = b.x + b.width / 2 - w / 2;
    const y = b.y + b.height / 2 - hgt / 2;
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
    const step: Record<string, [number, number]> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    };
    const cell = this.marks[0] ?? { col: 0, row: 0 };
    const { cols, rows } = this.raster;
    if (e.key in step && !e.altKey && !e.ctrlKey && !e.metaKey) {
      const [dx, dy] = step[e.key]!;
      const far = e.shiftKey ? 10 : 1;
      const next =
        this.marks.length === 0
          ? cell
          : {
              col: Math.min(cols - 1, Math.max(0, cell.col + dx * far)),
              row: Math.min(rows - 1, Math.max(0, cell.row + dy * far)),
            };
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
