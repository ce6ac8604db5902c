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

const reach = 3; // ratios: 1/8 … 8 on a logarithmic scale

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
// Ratios around 1.
export function balanceScale(): ColorScale {
  return {
    map: 'balance',
    low: -reach,
    high: reach,
    index: (values) =>
      toIndices(
        Float64Array.from(values, (v) => (v === 0 ? NaN : Math.log2(v))),
        -reach,
        reach,
      ),
  };
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
  if (scale.map === 'balance') legend.set(table, '⅛×', middle, '8×', nothing);
  else legend.set(table, text(scale.low), text((scale.low + scale.high) / 2), text(scale.high), nothing);
}
