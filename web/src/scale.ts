// From values to colours: which map, over which range, and what the legend says.

import { colorTable, type MapName, type Theme } from './color';
import { compact, percent, real } from './format';
import type { Legend } from './legend';
import { toIndices } from './raster';
import type { Metric } from './state';

export interface ColorScale {
  map: MapName;
  low: number;
  high: number;
  index(values: ArrayLike<number>): Uint8Array;
}

const reach = 3; // ratios against balance: 1/8 … 8 on a logarithmic scale, the same in every run
const reaches = [0.25, 0.5, 1, 2, 3, 4, 6]; // of a scale that adapts: 2^¼ … 64

// Absolute values from 0 to the largest one; never selected (NaN or 0) has a colour of its own.
export function heatScale(most: number): ColorScale {
  return {
    map: 'heat',
    low: 0,
    high: most,
    index: (values) =>
      toIndices(
        Float64Array.from(values, (v) => (v === 0 ? NaN : v)),
        0,
        most,
      ),
  };
}
// Three decades below the largest value, on a logarithmic scale; less is drawn as the least.
export function decadesScale(most: number): ColorScale {
  const high = Math.log10(most);
  return {
    map: 'heat',
    low: high - 3,
    high,
    index: (values) =>
      toIndices(
        Float64Array.from(values, (v) => (v > 0 ? Math.max(Math.log10(v), high - 3) : NaN)),
        high - 3,
        high,
      ),
  };
}
// Ratios around 1, from 1 / 2^reach to 2^reach. `none`: what 0 stands for, no value or the least.
function around(reach: number, none: number): ColorScale {
  const log = (v: number) => (v === 0 ? none : Math.log2(v));
  return {
    map: 'balance',
    low: -reach,
    high: reach,
    index: (values) =>
      toIndices(
        Float64Array.from(values, (v) => Math.min(reach, Math.max(-reach, log(v)))),
        -reach,
        reach,
      ),
  };
}
// Against balance. 0: never selected.
export const balanceScale = (): ColorScale => around(reach, NaN);
// Of two runs: as wide as all but the largest hundredth of the ratios. 0 and Infinity: in one of the two only.
export function ratioScale(values: ArrayLike<number>): ColorScale {
  const far = Float64Array.from(values, (v) => Math.abs(Math.log2(v)))
    .filter((v) => Number.isFinite(v))
    .sort();
  const wanted = far[Math.ceil(0.99 * far.length) - 1] ?? 0;
  return around(reaches.find((r) => r >= wanted) ?? reaches.at(-1)!, -Infinity);
}

export function largest(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) if (values[i]! > most) most = values[i]!;
  return most;
}

export function metricText(metric: Metric, v: number): string {
  if (Number.isNaN(v)) return '–';
  return metric === 'share' ? percent(v) : metric === 'count' || metric === 'accesses' ? compact(v) : real(v);
}

export function showLegend(
  legend: Legend,
  theme: Theme,
  scale: ColorScale,
  text: (v: number) => string,
  nothing: string | null,
  middle = 'balanced',
): void {
  const table = colorTable(theme, scale.map);
  if (scale.map === 'balance') {
    const end = 2 ** scale.high;
    const written = Number.isInteger(end) ? String(end) : end.toFixed(2);
    const low = written === '8' ? '⅛×' : written === '2' ? '½×' : written === '4' ? '¼×' : `1/${written}×`;
    legend.set(table, low, middle, written + '×', nothing);
  } else legend.set(table, text(scale.low), text((scale.low + scale.high) / 2), text(scale.high), nothing);
}
