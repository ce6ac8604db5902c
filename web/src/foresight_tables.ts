// What the page computes from the tables of a simulation (src/report/foresight.hpp): stall at any bandwidth.

import type { Foresight } from './contract';

export interface Machine {
  bandwidth: number; // bytes per second
  layerSeconds: number;
  sliceBytes: number;
}

// Of fetching a slice, in times of a layer.
export const sliceTime = (m: Machine): number => m.sliceBytes / m.bandwidth / m.layerSeconds;

export function inTable(f: Foresight, time: number): boolean {
  return time >= f.slice_times[0]! && time <= f.slice_times.at(-1)!;
}

// A table's value between the slice times that were simulated: value over slice time runs straight over the logarithm of the
// time. Exact at those times, and everywhere for what is proportional to the time, as the stall without prefetching is.
// Outside, the nearest time's ratio holds.
export function at(f: Foresight, table: Float64Array, slot: number, time: number, by: number): number {
  const n = f.slice_times.length;
  const ratio = (i: number) => table[(slot * n + i) * f.prefetchers.length + by]! / f.slice_times[i]!;
  let i = f.slice_times.findIndex((t) => t >= time);
  if (i === 0 || n === 1) return ratio(0) * time;
  if (i < 0) return ratio(n - 1) * time;
  const [a, b] = [Math.log2(f.slice_times[i - 1]!), Math.log2(f.slice_times[i]!)];
  const share = (Math.log2(time) - a) / (b - a);
  return time * ((1 - share) * ratio(i - 1) + share * ratio(i));
}

export interface Waiting {
  name: string;
  seconds: number; // that a token waits
  hidden: number; // share of the stall without prefetching; NaN without any
  fetched: number; // bytes per token
  inVain: number;
}

export function waiting(f: Foresight, slot: number, m: Machine): Waiting[] {
  const time = sliceTime(m);
  const none = at(f, f.stall, slot, time, f.prefetchers.indexOf('none'));
  return f.prefetchers.map((name, by) => {
    const stall = at(f, f.stall, slot, time, by);
    return {
      name,
      seconds: stall * m.layerSeconds,
      hidden: none > 0 ? 1 - stall / none : NaN,
      // Transfers are in times of a layer, too: over the slice's time they are slices.
      fetched: (at(f, f.fetched, slot, time, by) / time) * m.sliceBytes,
      inVain: (at(f, f.in_vain, slot, time, by) / time) * m.sliceBytes,
    };
  });
}
