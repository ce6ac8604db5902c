// Measures between two runs or domains (docs/analyses.md has the definitions).

// Jensen-Shannon distance (square root of the divergence, base 2) of two lists of counts; 0 … 1.
export function jensenShannon(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sumA = 0;
  let sumB = 0;
  for (let i = 0; i < a.length; i++) {
    sumA += a[i]!;
    sumB += b[i]!;
  }
  if (sumA === 0 || sumB === 0) return NaN;
  let divergence = 0;
  for (let i = 0; i < a.length; i++) {
    const p = a[i]! / sumA;
    const q = b[i]! / sumB;
    const m = (p + q) / 2;
    if (p > 0) divergence += (p * Math.log2(p / m)) / 2;
    if (q > 0) divergence += (q * Math.log2(q / m)) / 2;
  }
  return Math.sqrt(Math.max(0, divergence));
}

// Ranks from 1, ties sharing their mean rank.
function ranks(v: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: v.length }, (_, i) => i).sort((x, y) => v[x]! - v[y]!);
  const out = new Float64Array(v.length);
  for (let i = 0; i < order.length;) {
    let j = i;
    while (j < order.length && v[order[j]!] === v[order[i]!]) j++;
    for (let t = i; t < j; t++) out[order[t]!] = (i + 1 + j) / 2;
    i = j;
  }
  return out;
}

// Spearman's rank correlation; NaN where one side is constant.
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const x = ranks(a);
  const y = ranks(b);
  const mean = (a.length + 1) / 2;
  let xy = 0;
  let xx = 0;
  let yy = 0;
  for (let i = 0; i < x.length; i++) {
    xy += (x[i]! - mean) * (y[i]! - mean);
    xx += (x[i]! - mean) ** 2;
    yy += (y[i]! - mean) ** 2;
  }
  return xx > 0 && yy > 0 ? xy / Math.sqrt(xx * yy) : NaN;
}

// Wilson's 95 % interval of a share.
export function wilson(hits: number, rows: number): [low: number, high: number] {
  if (rows === 0 || hits > rows) return [NaN, NaN];
  const z = 1.959963984540054;
  const p = hits / rows;
  const width = 1 + (z * z) / rows;
  const centre = (p + (z * z) / (2 * rows)) / width;
  const half = (z * Math.sqrt((p * (1 - p)) / rows + (z * z) / (4 * rows * rows))) / width;
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}
