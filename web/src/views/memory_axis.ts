// The model file as an axis: where in it each entry lies, and which part of it is in view, at how many pixels per byte.

import { zoomIdentity, type ZoomTransform } from 'd3-zoom';
import type { Memory } from '../contract';

export class FileAxis {
  readonly begin: Float64Array; // [entry] bytes from the beginning of the first file
  readonly total: number; // bytes of all files
  width = 0; // pixels that the part in view fills
  transform: ZoomTransform = zoomIdentity;

  constructor(private m: Memory) {
    const start: number[] = [0];
    m.files.forEach((f, i) => start.push(start[i]! + f.size));
    this.total = start.at(-1)!;
    this.begin = Float64Array.from(m.offset, (o, i) => o + start[m.part[i]!]!);
  }

  end(entry: number): number {
    return this.begin[entry]! + this.m.size[entry]!;
  }
  // The bytes in view.
  get view(): [from: number, to: number] {
    const perPixel = this.total / this.width / this.transform.k;
    const from = (-this.transform.x / this.transform.k) * (this.total / this.width);
    return [from, from + perPixel * this.width];
  }
  get showsAll(): boolean {
    const [from, to] = this.view;
    return this.isWhole(from, to);
  }
  x(byte: number): number {
    const [from, to] = this.view;
    return ((byte - from) / (to - from)) * this.width;
  }
  byteAt(x: number): number {
    const [from, to] = this.view;
    return from + (x / this.width) * (to - from);
  }
  // Where the whole file fills the width, whatever is in view.
  xOfWhole(byte: number): number {
    return (byte / this.total) * this.width;
  }
  boxOf(entry: number): { x: number; width: number } {
    const x = this.x(this.begin[entry]!);
    return { x, width: this.x(this.end(entry)) - x };
  }
  // The entry that holds a byte; null between two of them.
  entryAt(byte: number): number | null {
    let low = 0;
    let high = this.begin.length - 1;
    while (low < high) {
      const mid = (low + high + 1) >> 1;
      if (this.begin[mid]! <= byte) low = mid;
      else high = mid - 1;
    }
    return byte >= this.begin[low]! && byte < this.end(low) ? low : null;
  }
  // The zoom that shows these bytes with a little room on both sides.
  zoomOn(from: number, to: number): ZoomTransform {
    if (this.isWhole(from, to)) return zoomIdentity;
    const pad = (to - from) * 0.02;
    const k = Math.min(this.total / (to - from + 2 * pad), 1e6);
    return zoomIdentity.translate((-(from - pad) / this.total) * this.width * k, 0).scale(k);
  }

  private isWhole(from: number, to: number): boolean {
    return to - from >= this.total * 0.999;
  }
}
