// The memory view's second picture: every layer as a row of its tensors and slices, all layers on one scale.

import { clearedContext, fitCanvas } from '../canvas';
import { h } from '../dom';
import type { Memory } from '../contract';
import { opacityOf, type EntryLook } from './memory_look';

const rowHeight = 13;
const gap = 3;
const labelWidth = 40;

export class LayerRows {
  readonly canvas = h('canvas', { class: 'layer-rows', 'aria-hidden': 'true' });
  private height: number;
  private rowOf = new Map<number, number>(); // layer -> its row
  private bytesOfLayer = new Map<number, number>();
  private longest: number; // bytes of the largest layer
  private width = 0;

  // layers: of the memory's entries, in order; what lies outside the layers has a negative one.
  constructor(
    public m: Memory, // another one shows other experts in the same places
    private layers: number[],
  ) {
    this.height = layers.length * (rowHeight + gap);
    layers.forEach((l, row) => this.rowOf.set(l, row));
    m.size.forEach((n, i) => this.bytesOfLayer.set(m.layer[i]!, (this.bytesOfLayer.get(m.layer[i]!) ?? 0) + n));
    this.longest = Math.max(...layers.map((l) => (l < 0 ? 0 : this.bytesOfLayer.get(l)!)));
  }

  layout(width: number): void {
    this.width = width;
    fitCanvas(this.canvas, width, this.height);
  }

  draw(look: EntryLook): void {
    const ctx = clearedContext(this.canvas);
    const { m } = this;
    const used = new Float64Array(this.layers.length);
    const outlines: [x: number, y: number, width: number, strong: boolean][] = [];
    ctx.font = '10px ' + getComputedStyle(this.canvas).getPropertyValue('--sans');
    ctx.textBaseline = 'middle';
    ctx.textAlign = 'right';
    ctx.fillStyle = look.quiet;
    this.layers.forEach((l, row) =>
      ctx.fillText(l < 0 ? 'other' : String(l), labelWidth - 8, row * (rowHeight + gap) + rowHeight / 2),
    );
    for (let i = 0; i < m.size.length; i++) {
      const row = this.rowOf.get(m.layer[i]!)!;
      const scale = this.scale(m.layer[i]!);
      const x = labelWidth + used[row]! * scale;
      const w = m.size[i]! * scale;
      const y = row * (rowHeight + gap);
      used[row]! += m.size[i]!;
      ctx.globalAlpha = opacityOf(look, i);
      ctx.fillStyle = look.colorOf(i);
      ctx.fillRect(x, y, Math.max(w - (w > 3 ? 0.75 : 0), 0.5), rowHeight);
      if (look.lit.has(i) || look.selected.has(i)) outlines.push([x, y, Math.max(w, 2), look.selected.has(i)]);
    }
    ctx.globalAlpha = 1;
    ctx.strokeStyle = look.mark;
    for (const [x, y, w, strong] of outlines) {
      ctx.lineWidth = strong ? 2 : 1.25;
      ctx.strokeRect(x, y - 0.5, w, rowHeight + 1);
    }
    ctx.textAlign = 'left';
  }

  entryAt(x: number, y: number): number | null {
    const layer = this.layers[Math.floor(y / (rowHeight + gap))];
    if (layer === undefined || x < labelWidth) return null;
    let at = (x - labelWidth) / this.scale(layer);
    for (let i = 0; i < this.m.size.length; i++) {
      if (this.m.layer[i] !== layer) continue;
      if (at < this.m.size[i]!) return i;
      at -= this.m.size[i]!;
    }
    return null;
  }

  // Pixels per byte of a row: one scale for all layers, another for what lies outside them.
  private scale(layer: number): number {
    return (this.width - labelWidth) / (layer < 0 ? this.bytesOfLayer.get(layer)! : this.longest);
  }
}
