// The colour of every entry of the model file: slices by heat; other tensors, which every ubatch reads, in one calm colour,
// so that they do not drown the experts.

import { colorTable, cssOf, noValue, type Theme } from '../color';
import type { Memory } from '../contract';
import { isSlice } from '../memory_map';
import { heatScale, largest, type ColorScale } from '../scale';

export class MemoryColors {
  readonly scale: ColorScale;
  private index: Uint8Array;
  private whole: string;
  private table: Uint32Array;

  // reads: [entry], NaN: not recorded.
  constructor(
    private m: Memory,
    reads: Float64Array,
    theme: Theme,
  ) {
    this.scale = heatScale(largest(reads.filter((_, i) => isSlice(m, i))) || 1);
    this.index = this.scale.index(reads);
    this.whole = getComputedStyle(document.documentElement).getPropertyValue('--whole');
    this.table = colorTable(theme, 'heat');
  }

  of(entry: number): string {
    const index = this.index[entry]!;
    return !isSlice(this.m, entry) && index !== noValue ? this.whole : cssOf(this.table[index]!);
  }
  // The hottest slice comes first, then a tensor that was read.
  rankOf(entry: number): number {
    const index = this.index[entry]!;
    return index === noValue ? 0 : isSlice(this.m, entry) ? 2 + index : 1;
  }
  // The mean by bytes of the slices in [from, to); colours are linear in reads. Where there is no slice: the highest rank.
  meanOf(from: number, to: number, shown: (entry: number) => boolean): string {
    const { m } = this;
    let bytes = 0;
    let sum = 0;
    let highest = from;
    for (let i = from; i < to; i++) {
      if (!shown(i)) continue;
      if (this.rankOf(i) > this.rankOf(highest)) highest = i;
      if (!isSlice(m, i)) continue;
      bytes += m.size[i]!;
      sum += this.index[i] === noValue ? 0 : m.size[i]! * this.index[i]!;
    }
    return sum > 0 ? cssOf(this.table[Math.round(sum / bytes)]!) : this.of(highest);
  }
}
