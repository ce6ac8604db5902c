// A matrix painted straight in the screen's pixels: each pixel finds its cells by arithmetic and goes through the table
// of colours once. Where several cells fall into one pixel, it shows the largest, so that no hot cell is lost.
// Matrices of which more than 4 million cells are in view are read from a level whose entries are the largest of
// 2ⁿ × 2ⁿ cells.

import { noValue } from './color';

const maxCells = 4_000_000;

// `rank` holds 0 for "no value" and the colour index plus one otherwise, so that the larger one is simply the larger.
interface Level {
  rank: Uint8Array;
  cols: number;
  rows: number;
  factor: number;
}

export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

// Which cells the pixels of one axis show: pixel p those from begin[p] to end[p] (exclusive), at least one. Each cell
// belongs to the pixel that its centre lies in; a pixel in which no centre lies shows the cell it lies in.
interface Spans {
  begin: Int32Array;
  end: Int32Array;
  most: number;
}

function spans(from: number, length: number, pixels: number, cells: number): Spans {
  const begin = new Int32Array(pixels);
  const end = new Int32Array(pixels);
  const step = length / pixels;
  let most = 1;
  for (let p = 0; p < pixels; p++) {
    const a = from + p * step;
    const first = Math.ceil(a - 0.5);
    const last = Math.ceil(a + step - 0.5);
    begin[p] = Math.min(cells - 1, Math.max(0, last > first ? first : Math.floor(a + step / 2)));
    end[p] = Math.min(cells, Math.max(begin[p]! + 1, last));
    most = Math.max(most, end[p]! - begin[p]!);
  }
  return { begin, end, most };
}

export class Raster {
  private levels: Level[] = [];
  private table = new Uint32Array(256); // by rank
  private image: ImageData | null = null; // the pixels of the last draw
  private ranks = new Uint8Array(0); // of the image, before colour
  private drawn = ''; // which part of the matrix they show
  private colored = false; // the image has the colours of `table`
  cols = 0;
  rows = 0;

  // index: colour of each cell, row by row; 255 is "no value".
  setCells(index: Uint8Array, cols: number, rows: number): void {
    const rank = new Uint8Array(index.length);
    for (let i = 0; i < rank.length; i++) rank[i] = index[i]! + 1; // 255 wraps around to 0
    this.levels = [{ rank, cols, rows, factor: 1 }];
    this.cols = cols;
    this.rows = rows;
    this.drawn = '';
  }
  setColors(table: Uint32Array): void {
    for (let i = 0; i < 256; i++) this.table[(i + 1) & 255] = table[i]!;
    this.colored = false;
  }
  colorAt(col: number, row: number): number {
    return this.table[this.levels[0]!.rank[row * this.cols + col]!]!;
  }

  // Draws the cells of `view` (fractions allowed) into `to`, in whole pixels of the canvas, whatever its transform.
  draw(ctx: CanvasRenderingContext2D, view: Rect, to: Rect): void {
    if (this.cols === 0 || this.rows === 0 || to.width < 1 || to.height < 1) return;
    if (this.image?.width !== to.width || this.image.height !== to.height) {
      this.image = new ImageData(to.width, to.height);
      this.ranks = new Uint8Array(to.width * to.height);
      this.drawn = '';
    }
    const part = `${view.x} ${view.y} ${view.width} ${view.height}`;
    if (part !== this.drawn) {
      this.sample(view, to.width, to.height);
      this.drawn = part;
      this.colored = false;
    }
    if (!this.colored) this.color(this.image);
    ctx.putImageData(this.image, to.x, to.y);
  }

  private color(image: ImageData): void {
    const pixels = new Uint32Array(image.data.buffer);
    const { ranks, table } = this;
    for (let i = 0; i < pixels.length; i++) pixels[i] = table[ranks[i]!]!;
    this.colored = true;
  }

  private sample(view: Rect, width: number, height: number): void {
    let n = 0;
    while ((view.width * view.height) / 4 ** n > maxCells) n++;
    const { rank, cols, rows, factor } = this.level(n);
    const out = this.ranks;
    const x = spans(view.x / factor, view.width / factor, width, cols);
    const y = spans(view.y / factor, view.height / factor, height, rows);
    const line = new Uint8Array(cols);
    const left = x.begin[0]!;
    const right = x.end[width - 1]!;
    for (let p = 0; p < height; p++) {
      const to = p * width;
      if (p > 0 && y.begin[p] === y.begin[p - 1] && y.end[p] === y.end[p - 1]) {
        out.copyWithin(to, to - width, to);
        continue;
      }
      line.set(rank.subarray(y.begin[p]! * cols + left, y.begin[p]! * cols + right), left);
      // Math.max rather than a comparison: what the cells hold cannot be foreseen, and a branch would wait for it.
      for (let r = y.begin[p]! + 1; r < y.end[p]!; r++) {
        for (let c = left, at = r * cols + left; c < right; c++, at++) line[c] = Math.max(line[c]!, rank[at]!);
      }
      if (x.most <= 2) {
        for (let q = 0; q < width; q++) out[to + q] = Math.max(line[x.begin[q]!]!, line[x.end[q]! - 1]!);
      } else {
        for (let q = 0; q < width; q++) {
          let best = 0;
          for (let c = x.begin[q]!; c < x.end[q]!; c++) best = Math.max(best, line[c]!);
          out[to + q] = best;
        }
      }
    }
  }

  private level(n: number): Level {
    while (this.levels.length <= n) this.levels.push(pool(this.levels.at(-1)!));
    return this.levels[n]!;
  }
}

// Halves a level; each entry becomes the largest of its four.
function pool(from: Level): Level {
  const cols = Math.ceil(from.cols / 2);
  const rows = Math.ceil(from.rows / 2);
  const rank = new Uint8Array(cols * rows);
  for (let r = 0; r < from.rows; r++) {
    for (let c = 0; c < from.cols; c++) {
      const v = from.rank[r * from.cols + c]!;
      const to = (r >> 1) * cols + (c >> 1);
      if (v > rank[to]!) rank[to] = v;
    }
  }
  return { rank, cols, rows, factor: from.factor * 2 };
}

// Scales values into colour indices: 0 … 254 over [low, high]; NaN becomes "no value".
export function toIndices(
  values: ArrayLike<number>,
  low: number,
  high: number,
  out = new Uint8Array(values.length),
): Uint8Array {
  const scale = high > low ? 254 / (high - low) : 0;
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!;
    out[i] = v !== v ? noValue : v <= low ? 0 : v >= high ? 254 : Math.round((v - low) * scale);
  }
  return out;
}
