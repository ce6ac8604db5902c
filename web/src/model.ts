// Everything derived from a run's data: what a cell means, the order of experts, the texts of tokens.

import type { Numbers } from './bundle';
import type { Block, Run, Tile } from './contract';
import { deadByChance, entropyByChance } from './chance';
import { pieceText } from './format';
import type { Metric, Phase, Sort } from './state';

export interface MetricInfo {
  name: string;
  what: string;
  relativeTo: string;
}

export const metrics: Record<Metric, MetricInfo> = {
  count: { name: 'Count', what: 'selections', relativeTo: 'a balanced expert' },
  share: { name: 'Share', what: 'share of the layer’s selections', relativeTo: 'the balanced share 1/E' },
  weight_mean: { name: 'Mean gate', what: 'mean gate weight when selected', relativeTo: 'the layer’s mean' },
  reap: {
    name: 'REAP',
    what: 'mean of gate weight × output norm when selected',
    relativeTo: 'the layer’s mean',
  },
  ean: { name: 'EAN', what: 'mean output norm when selected', relativeTo: 'the layer’s mean' },
  accesses: { name: 'Accesses', what: 'ubatches that read the expert', relativeTo: 'the layer’s mean' },
};

export function availableMetrics(run: Run): Metric[] {
  const c = run.cells;
  return (Object.keys(metrics) as Metric[]).filter((m) =>
    m === 'count' || m === 'share' ? true : m === 'accesses' ? c.accesses !== null : c[m] !== null,
  );
}

export function blockName(b: Block): string {
  return `layer ${b.layer}` + (b.block > 0 ? ` (block ${b.block})` : '') + (b.mtp ? ' (MTP)' : '');
}

// GroveMoE's second block: its rows may name an expert twice.
export const repeatsIds = (b: Block): boolean => b.block > 0;

export const sum = (list: number[]): number => list.reduce((a, b) => a + b, 0);

export function widest(run: Run): number {
  return run.blocks.reduce((m, b) => Math.max(m, b.n_expert), 0);
}

// Whether all runs have the blocks of the first: what can be compared cell by cell.
export function sameShape(runs: Run[]): boolean {
  const shape = (r: Run) => r.blocks.map((b) => `${b.layer}.${b.block}:${b.n_expert}/${b.n_expert_used}`).join();
  return runs.length > 1 && runs.every((r) => shape(r) === shape(runs[0]!));
}
// Whether a run is the sums of a profile rather than a trace.
export const isProfile = (run: Run): boolean => run.source.format === 'profile';

// Whether there is more than one text to tell apart: several runs, or prompts with labels.
export function hasDomains(runs: Run[]): boolean {
  return sameShape(runs) || runs.some((r) => r.domains.length > 0);
}

// The selections of a block's experts, of all rows or of those of generated tokens; null: not told apart.
export function countsOf(run: Run, b: Block, which: 'count' | 'count_decoded' = 'count'): Numbers | null {
  return run.cells[which]?.subarray(b.first_cell, b.first_cell + b.n_expert) ?? null;
}

// Selections of a cell in one phase.
export function countOf(run: Run, cell: number, phase: Phase): number {
  const all = run.cells.count[cell]!;
  const decoded = run.cells.count_decoded?.[cell];
  if (phase === 'all' || decoded === undefined) return all;
  return phase === 'decode' ? decoded : all - decoded;
}
export function rowsOf(run: Run, b: Block, phase: Phase): number {
  if (phase === 'all' || !run.cells.count_decoded) return b.rows;
  return phase === 'decode' ? b.rows_decoded : b.rows - b.rows_decoded;
}

// Selections of a whole block in one phase: k times its rows, wherever both are known.
const totals = new WeakMap<Run, Map<Phase, Map<number, number>>>();
export function selectionsOf(run: Run, b: Block, phase: Phase): number {
  let known = totals.get(run);
  if (!known) totals.set(run, (known = new Map()));
  let ofPhase = known.get(phase);
  if (!ofPhase) known.set(phase, (ofPhase = new Map()));
  let sum = ofPhase.get(b.first_cell);
  if (sum === undefined) {
    sum = 0;
    for (let e = 0; e < b.n_expert; e++) sum += countOf(run, b.first_cell + e, phase);
    ofPhase.set(b.first_cell, sum);
  }
  return sum;
}

// The absolute value of a metric for one cell; NaN where there is none (never selected, no rows).
export function valueOf(run: Run, b: Block, expert: number, metric: Metric, phase: Phase): number {
  const cell = b.first_cell + expert;
  const n = countOf(run, cell, phase);
  if (metric === 'count') return n;
  if (metric === 'share') {
    const all = selectionsOf(run, b, phase);
    return all === 0 ? NaN : n / all;
  }
  if (metric === 'accesses') return run.cells.accesses ? run.cells.accesses[cell]! : NaN;
  const column = run.cells[metric];
  return column ? column[cell]! : NaN;
}

// What "balanced" means for a metric in a block: the value that each expert would have.
export function balanceOf(run: Run, b: Block, metric: Metric, phase: Phase): number {
  if (metric === 'share') return 1 / b.n_expert;
  if (metric === 'count') return selectionsOf(run, b, phase) / b.n_expert;
  let sum = 0;
  let n = 0;
  for (let e = 0; e < b.n_expert; e++) {
    const v = valueOf(run, b, e, metric, phase);
    if (v === v) {
      sum += v;
      n++;
    }
  }
  return n === 0 ? NaN : sum / n;
}

export function valuesOf(run: Run, b: Block, metric: Metric, phase: Phase, relative: boolean): Float64Array {
  const base = relative ? balanceOf(run, b, metric, phase) : 1;
  return Float64Array.from({ length: b.n_expert }, (_, e) => valueOf(run, b, e, metric, phase) / base);
}

// What random routing of as many rows shows of a block; NaN where that is not known.
const byChance = new WeakMap<Block, { entropy: number; dead: number }>();
export function chanceOf(b: Block): { entropy: number; dead: number } {
  let known = byChance.get(b);
  if (!known) {
    const shape = [b.rows, b.n_expert_used, b.n_expert, !repeatsIds(b)] as const;
    byChance.set(b, (known = { entropy: entropyByChance(...shape), dead: deadByChance(...shape) }));
  }
  return known;
}

// How often a and b were selected in one row; the diagonal is the count.
export function pairCount(triangle: Numbers, n: number, a: number, b: number): number {
  const lo = Math.min(a, b);
  const hi = Math.max(a, b);
  return triangle[(lo * (2 * n - lo - 1)) / 2 + (hi - lo - 1)]!;
}

// Experts so that those selected together are neighbours: begin with the hottest, go on with whoever goes best with
// the last few placed.
function bySimilarity(n: number, triangle: Numbers, count: (e: number) => number): number[] {
  const cosine = (a: number, b: number) =>
    pairCount(triangle, n, a, b) / Math.sqrt(Math.max(1, count(a)) * Math.max(1, count(b)));
  const left = new Set(Array.from({ length: n }, (_, e) => e));
  let last = 0;
  for (const e of left) if (count(e) > count(last)) last = e;
  const order = [last];
  left.delete(last);
  const near = new Float64Array(n);
  while (left.size > 0) {
    for (const e of left) near[e] = 0.6 * near[e]! + cosine(e, last);
    let best = -1;
    for (const e of left) if (best < 0 || near[e]! > near[best]!) best = e;
    order.push(best);
    left.delete(best);
    last = best;
  }
  return order;
}

// order[rank] = expert.
export function expertOrder(run: Run, blockIndex: number, sort: Sort, values: ArrayLike<number>): number[] {
  const b = run.blocks[blockIndex]!;
  const ids = Array.from({ length: b.n_expert }, (_, e) => e);
  if (sort === 'heat') {
    return ids.sort(
      (x, y) => (Number.isNaN(values[y]!) ? -1 : values[y]!) - (Number.isNaN(values[x]!) ? -1 : values[x]!) || x - y,
    );
  }
  const triangle = run.pairs.count[blockIndex];
  if (sort === 'similarity' && triangle)
    return bySimilarity(b.n_expert, triangle, (e) => run.cells.count[b.first_cell + e]!);
  return ids;
}

export function hasPairs(run: Run): boolean {
  return run.pairs.count.some((p) => p !== null);
}

// ---- tokens ------------------------------------------------------------------------------------------------------

export class TileReader {
  private text = new Map<number, string>();
  constructor(
    readonly tile: Tile,
    private run: Run,
  ) {
    let begin = 0;
    tile.pieces.token.forEach((token, i) => {
      const end = tile.pieces.end[i]!;
      this.text.set(token, pieceText(tile.pieces.bytes.subarray(begin, end)));
      begin = end;
    });
  }
  // The token's text, or its id where the text is not known.
  textAt(i: number): string {
    const id = this.tile.token[i]!;
    return this.text.get(id) ?? (id < 0 ? '·' : `#${id}`);
  }
  knowsText(i: number): boolean {
    return this.text.has(this.tile.token[i]!);
  }
  // Experts of token i in a block with their weights, in the order in which the model selected them.
  selections(i: number, block: number): { expert: number; weight: number }[] {
    const rows = this.tile.rows[block];
    if (!rows || (rows.present && rows.present[i] === 0)) return [];
    const k = this.run.blocks[block]!.n_expert_used;
    return Array.from({ length: k }, (_, j) => ({
      expert: rows.ids[i * k + j]!,
      weight: this.weight(block, i * k + j),
    }));
  }
  weightOf(i: number, block: number, expert: number): number | null {
    const rows = this.tile.rows[block];
    if (!rows || (rows.present && rows.present[i] === 0)) return null;
    const k = this.run.blocks[block]!.n_expert_used;
    for (let j = i * k; j < i * k + k; j++) if (rows.ids[j] === expert) return this.weight(block, j);
    return null;
  }
  private weight(block: number, at: number): number {
    const w = this.tile.rows[block]!.weights;
    if (!w || w.value[at] === 65535) return NaN;
    return w.least + w.step * w.value[at]!;
  }
  // The tokens that one ubatch computed together with token i.
  ubatchOf(i: number): [begin: number, end: number] {
    const u = this.tile.ubatch;
    let begin = i;
    let end = i + 1;
    while (begin > 0 && u[begin - 1] === u[i]) begin--;
    while (end < this.tile.n && u[end] === u[i]) end++;
    return [begin, end];
  }
}
