// Colour maps, built in OKLab so that equal steps look equal and lightness runs one way.

type Stop = [lightness: number, chroma: number, hue: number];

function toSrgb(L: number, a: number, b: number): [number, number, number] {
  const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return linear.map((c) => {
    const v = Math.min(1, Math.max(0, c));
    return Math.round(255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055));
  }) as [number, number, number];
}

// 32-bit pixels as ImageData wants them (little-endian: ABGR).
const pixel = ([r, g, b]: [number, number, number]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

// n colours through the stops, evenly spaced.
function ramp(stops: Stop[], n: number): Uint32Array {
  const lab = stops.map(
    ([L, c, hue]) => [L, c * Math.cos((hue * Math.PI) / 180), c * Math.sin((hue * Math.PI) / 180)] as const,
  );
  return Uint32Array.from({ length: n }, (_, i) => {
    const at = (i / (n - 1)) * (lab.length - 1);
    const j = Math.min(lab.length - 2, Math.floor(at));
    const mix = (k: 0 | 1 | 2) => lab[j]![k] + (at - j) * (lab[j + 1]![k] - lab[j]![k]);
    return pixel(toSrgb(mix(0), mix(1), mix(2)));
  });
}

export const steps = 255; // colours of a map; index 255 is "no value"
export const noValue = 255;

function table(stops: Stop[], nothing: Stop): Uint32Array {
  const t = new Uint32Array(steps + 1);
  t.set(ramp(stops, steps));
  t[noValue] = ramp([nothing, nothing], 2)[0]!;
  return t;
}

export type Theme = 'light' | 'dark';
export type MapName = 'heat' | 'balance';

const maps: Record<Theme, Record<MapName, Uint32Array>> = {
  dark: {
    heat: table(
      [
        [0.295, 0.055, 278],
        [0.385, 0.115, 287],
        [0.5, 0.17, 325],
        [0.645, 0.185, 20],
        [0.8, 0.155, 65],
        [0.965, 0.1, 102],
      ],
      [0.232, 0.014, 280],
    ),
    balance: table(
      [
        [0.84, 0.1, 215],
        [0.66, 0.135, 245],
        [0.44, 0.1, 262],
        [0.275, 0.01, 270],
        [0.46, 0.11, 35],
        [0.68, 0.165, 50],
        [0.88, 0.13, 85],
      ],
      [0.2, 0.018, 280],
    ),
  },
  light: {
    heat: table(
      [
        [0.965, 0.03, 95],
        [0.89, 0.085, 88],
        [0.77, 0.15, 62],
        [0.62, 0.185, 25],
        [0.45, 0.165, 340],
        [0.265, 0.11, 288],
      ],
      [0.925, 0.003, 285],
    ),
    balance: table(
      [
        [0.36, 0.115, 262],
        [0.56, 0.135, 250],
        [0.79, 0.085, 230],
        [0.968, 0.005, 100],
        [0.81, 0.11, 65],
        [0.61, 0.165, 42],
        [0.42, 0.14, 25],
      ],
      [0.905, 0.003, 285],
    ),
  },
};

export function colorTable(theme: Theme, map: MapName): Uint32Array {
  return maps[theme][map];
}

export function cssOf(pixelValue: number): string {
  return `rgb(${pixelValue & 255}, ${(pixelValue >> 8) & 255}, ${(pixelValue >> 16) & 255})`;
}

// Black or white, whichever reads better on this pixel.
export function inkOn(pixelValue: number): string {
  const r = pixelValue & 255;
  const g = (pixelValue >> 8) & 255;
  const b = (pixelValue >> 16) & 255;
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? '#14121c' : '#ffffff';
}

// Distinct hues of even lightness for categories (policies, components).
export function categorical(theme: Theme, i: number): string {
  const hues = [255, 50, 150, 330, 95, 200, 20, 285];
  const lightness = theme === 'dark' ? [0.74, 0.84, 0.66] : [0.56, 0.46, 0.66];
  const hue = (hues[i % hues.length]! * Math.PI) / 180;
  const L = lightness[Math.floor(i / hues.length) % 3]!;
  return cssOf(pixel(toSrgb(L, 0.15 * Math.cos(hue), 0.15 * Math.sin(hue))));
}
