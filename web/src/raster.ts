// A matrix painted one pixel per cell through a colour table, then scaled onto the canvas in one draw without smoothing.
// Where a cell lies is arithmetic, so a hit test costs nothing. Matrices above 4 million visible cells are drawn from a
// level in which each pixel is the largest of 2ⁿ × 2ⁿ cells.

import { noValue } from './color';

const maxPixels = 4_000_000;

interface Level { index: Uint8Array; cols: number; rows: number; factor: number }

export interface Rect { x: number; y: number; width: number; height: number }

export class Raster {
  private levels: Level[] = [];
  private table: Uint32Array = new Uint32Array(256);
  private picture: OffscreenCanvas | null = null;
  private pictureOf: Rect | null = null;   // the cells in it
  private pictureFactor = 1;
  cols = 0;
  rows = 0;

  // index: colour of each cell, row by row; 255 is "no value".
  setCells(index: Uint8Array, cols: number, rows: number): void {
    this.levels = [{ index, cols, rows, factor: 1 }];
    this.cols = cols;
    this.rows = rows;
    this.picture = null;
  }
  setColors(table: Uint32Array): void {
    this.table = table;
    this.picture = null;
  }
  indexAt(col: number, row: number): number {
    return this.levels[0]!.index[row * this.cols + col]!;
  }
  colorAt(col: number, row: number): number {
    return this.table[this.indexAt(col, row)]!;
  }

  // Draws the cells of `view` (fractions allowed) into `to`, in the context's own pixels.
  draw(ctx: CanvasRenderingContext2D, view: Rect, to: Rect): void {
    if (this.cols === 0 || this.rows === 0) return;
    const picture = this.pictureFor(view);
    const of = this.pictureOf!, f = this.pictureFactor;
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(picture, (view.x - of.x) / f, (view.y - of.y) / f, view.width / f, view.height / f, to.x, to.y, to.width, to.height);
  }

  private pictureFor(view: Rect): OffscreenCanvas {
    const whole = this.cols * this.rows <= maxPixels;
    const x = whole ? 0 : Math.max(0, Math.floor(view.x)), y = whole ? 0 : Math.max(0, Math.floor(view.y));
    const right = whole ? this.cols : Math.min(this.cols, Math.ceil(view.x + view.width));
    const bottom = whole ? this.rows : Math.min(this.rows, Math.ceil(view.y + view.height));
    const of = this.pictureOf;
    if (this.picture && of && of.x <= x && of.y <= y && of.x + of.width >= right && of.y + of.height >= bottom &&
        (this.pictureFactor === 1 || of.width * of.height <= 4 * (right - x) * (bottom - y))) {
      return this.picture;
    }
    return this.paint(x, y, right, bottom);
  }

  private paint(x: number, y: number, right: number, bottom: number): OffscreenCanvas {
    let level = 0;
    while (((right - x) * (bottom - y)) / 4 ** level > maxPixels) level++;
    const { index, cols, rows, factor } = this.level(level);
    const c0 = Math.floor(x / factor), r0 = Math.floor(y / factor);
    const c1 = Math.min(cols, Math.ceil(right / factor)), r1 = Math.min(rows, Math.ceil(bottom / factor));
    const width = c1 - c0, height = r1 - r0;
    const canvas = new OffscreenCanvas(width, height);
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer), table = this.table;
    for (let r = 0, to = 0; r < height; r++) {
      const from = (r0 + r) * cols + c0;
      for (let c = 0; c < width; c++) pixels[to++] = table[index[from + c]!]!;
    }
    canvas.getContext('2d')!.putImageData(image, 0, 0);
    this.picture = canvas;
    this.pictureFactor = factor;
    this.pictureOf = { x: c0 * factor, y: r0 * factor, width: width * factor, height: height * factor };
    return canvas;
  }

  private level(n: number): Level {
    while (this.levels.length <= n) this.levels.push(pool(this.levels.at(-1)!));
    return this.levels[n]!;
  }
}

// Halves a level; each pixel becomes the largest index of its four, "no value" only where all four have none.
function pool(from: Level): Level {
  const cols = Math.ceil(from.cols / 2), rows = Math.ceil(from.rows / 2);
  const index = new Uint8Array(cols * rows);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      let best = -1;
      for (let i = 0; i < 4; i++) {
        const y = 2 * r + (i >> 1), x = 2 * c + (i & 1);
        if (y >= from.rows || x >= from.cols) continue;
        const v = from.index[y * from.cols + x]!;
        if (v !== noValue && v > best) best = v;
      }
      index[r * cols + c] = best < 0 ? noValue : best;
    }
  }
  return { index, cols, rows, factor: from.factor * 2 };
}

// Scales values into colour indices: 0 … 254 over [low, high]; NaN becomes "no value".
export function toIndices(values: ArrayLike<number>, low: number, high: number, out = new Uint8Array(values.length)): Uint8Array {
  const scale = high > low ? 254 / (high - low) : 0;
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!;
    out[i] = v !== v ? noValue : v <= low ? 0 : v >= high ? 254 : Math.round((v - low) * scale);
  }
  return out;
}
