// What random routing of as many rows shows: the yardstick beside every figure. Every row selects k distinct experts of E,
// all of them equally likely (docs/analyses.md: chance).

import { jensenShannon } from './measures';

const certain: number[] = [0]; // ln n! for small n
for (let n = 1; n < 256; n++) certain.push(certain[n - 1]! + Math.log(n));

// ln n!: exact below 256, else by Stirling's series, whose next term is below 1e-15 there.
function logFactorial(n: number): number {
  if (n < certain.length) return certain[n]!;
  return n * Math.log(n) - n + Math.log(2 * Math.PI * n) / 2 + 1 / (12 * n) - 1 / (360 * n ** 3);
}
// P(c of n) of a binomial.
function binomial(n: number, c: number, p: number): number {
  if (p >= 1) return c === n ? 1 : 0;
  const ways = logFactorial(n) - logFactorial(c) - logFactorial(n - c);
  return Math.exp(ways + c * Math.log(p) + (n - c) * Math.log1p(-p));
}

const wide = 1e4; // a variance from which the normal limit is as good
const reach = 12; // standard deviations; what lies beyond is nothing

// Normalised entropy of a block's selections. Their sum S = N k is fixed and each expert's count c is binomial, so the mean
// of H = ln S − Σ c ln c / S is exact: ln S − E · mean(c ln c) / S.
export function entropyByChance(rows: number, k: number, nExpert: number, distinct = true): number {
  if (rows === 0 || k === 0 || nExpert < 2) return NaN;
  const n = distinct ? rows : rows * k;
  const p = (distinct ? k : 1) / nExpert;
  const mean = n * p;
  const variance = mean * (1 - p);
  let logs = 0; // mean of c ln c
  if (variance > wide) {
    logs = mean * Math.log(mean) + variance / (2 * mean);
  } else {
    const far = reach * Math.sqrt(variance) + reach;
    for (let c = Math.max(2, Math.floor(mean - far)); c <= Math.min(n, Math.ceil(mean + far)); c++)
      logs += binomial(n, c, p) * c * Math.log(c);
  }
  const selections = rows * k;
  return (Math.log(selections) - (nExpert * logs) / selections) / Math.log(nExpert);
}

// Experts of a block that are never selected.
export function deadByChance(rows: number, k: number, nExpert: number, distinct = true): number {
  if (rows === 0 || k === 0) return NaN;
  return nExpert * (distinct ? (1 - k / nExpert) ** rows : (1 - 1 / nExpert) ** (rows * k));
}

// The smallest z that a standard normal value exceeds with a probability below `most`, by its continued fraction.
function normalLimit(most: number): number {
  const beyond = (z: number) => {
    let f = z;
    for (let i = 60; i > 0; i--) f = z + i / f;
    return Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI) / f;
  };
  let low = 1;
  let high = 40;
  for (let i = 0; i < 100; i++) {
    const z = (low + high) / 2;
    if (beyond(z) < most) high = z;
    else low = z;
  }
  return high;
}

// The smallest count that a binomial of n and p reaches with a probability below `most`.
export function binomialLimit(n: number, p: number, most: number): number {
  const mean = n * p;
  const variance = mean * (1 - p);
  if (variance > wide) return Math.ceil(mean + normalLimit(most) * Math.sqrt(variance));
  let tail = 0;
  for (let c = Math.min(n, Math.ceil(mean + 4 * reach * (Math.sqrt(variance) + 1))); c >= 0; c--) {
    tail += binomial(n, c, p);
    if (tail >= most) return c + 1;
  }
  return 0;
}

// Pseudo-random numbers that repeat (Marsaglia's xorshift), 0 … 1.
function repeatable(seed: number): () => number {
  let x = seed | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

const deals = 20;
const many = 20; // selections per expert, from which the second order is good to 1 %

// The Jensen–Shannon distance of two sets of rows of one routing: the mean over ways to deal their selections out anew, or
// where they are many its second order, (S − 1) (1/Σa + 1/Σb) / (8 ln 2) for S experts ever selected. The k ids of a row are
// distinct, which takes the variance of k free draws down by (E − k) / (E − 1).
export function distanceByChance(a: ArrayLike<number>, b: ArrayLike<number>, k: number): number {
  const all = Float64Array.from(a, (v, e) => v + b[e]!);
  const sum = (v: ArrayLike<number>) => Array.prototype.reduce.call(v, (s, x) => Number(s) + Number(x), 0) as number;
  const na = sum(a);
  const nb = sum(b);
  if (na === 0 || nb === 0) return NaN;
  const n = all.length;
  const distinct = n > 1 ? Math.sqrt(Math.max(0, n - k) / (n - 1)) : 0;
  const selected = all.filter((c) => c > 0).length;
  const fewer = Math.min(na, nb);
  if (fewer > many * selected) return distinct * Math.sqrt(((selected - 1) * (1 / na + 1 / nb)) / (8 * Math.LN2));
  const random = repeatable(na * 65537 + nb);
  const cards = Int32Array.from({ length: na + nb });
  let at = 0;
  all.forEach((count, e) => {
    cards.fill(e, at, at + count);
    at += count;
  });
  let total = 0;
  for (let d = 0; d < deals; d++) {
    const hand = new Float64Array(n);
    for (let i = 0; i < fewer; i++) {
      const j = i + Math.floor(random() * (cards.length - i));
      [cards[i], cards[j]] = [cards[j]!, cards[i]!];
      hand[cards[i]!]!++;
    }
    total += jensenShannon(
      hand,
      all.map((c, e) => c - hand[e]!),
    );
  }
  return (distinct * total) / deals;
}

const drawnUbatches = 3000;

// Reads that an LRU of so many slots serves, without the first read of each expert, when each ubatch reads this many distinct
// experts at random, by rising id. From draws: there is no closed form.
export function lruHitsByChance(slots: number, nExpert: number, perUbatch: number): number {
  const random = repeatable(slots * 65537 + nExpert);
  const order = Array.from({ length: nExpert }, (_, e) => e);
  const cached = new Set<number>(); // the least recently used first
  const seen = new Set<number>();
  let hits = 0;
  let warm = 0;
  for (let u = 0; u < drawnUbatches; u++) {
    for (let i = 0; i < perUbatch; i++) {
      const j = i + Math.floor(random() * (nExpert - i));
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    for (const e of order.slice(0, perUbatch).sort((a, b) => a - b)) {
      if (seen.has(e)) warm++;
      if (cached.delete(e)) hits++;
      else if (cached.size >= slots) cached.delete(cached.values().next().value!);
      cached.add(e);
      seen.add(e);
    }
  }
  return warm > 0 ? hits / warm : NaN;
}
