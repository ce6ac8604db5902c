// What stands out of a run against random routing of as many rows, as sentences that lead to where it is seen. The rules are
// those of `moescope stats` (src/analysis/findings.hpp), on what the page holds.

import { binomialLimit, deadByChance, distanceByChance, lruHitsByChance } from './chance';
import type { Block, Run, Tile } from './contract';
import { integer } from './format';
import { jensenShannon } from './measures';
import { blockName, countsOf, repeatsIds, sum, TileReader } from './model';
import type { State } from './state';

export interface Finding {
  text: string;
  seen: Partial<State>; // where
}

const most = 3; // sentences
const rarely = 0.01;
const aTenth = 0.1;
const deviations = 3;

const percents = (v: number) => `${(100 * v).toFixed(0)} %`;

const routes = (b: Block) => b.rows > 0 && b.n_expert_used > 0 && b.n_expert_used < b.n_expert && !repeatsIds(b);

function leaning(run: Run): Finding | null {
  const experts = sum(run.blocks.map((b) => b.n_expert));
  let found: { block: number; expert: number; times: number; limit: number } | null = null;
  run.blocks.forEach((b, block) => {
    if (!routes(b)) return;
    const counts = Array.from(countsOf(run, b)!);
    const busiest = Math.max(...counts);
    const fair = b.n_expert_used / b.n_expert;
    const limit = binomialLimit(b.rows, fair, rarely / experts);
    const times = busiest / (fair * b.rows);
    if (busiest > limit && (!found || times > found.times))
      found = { block, expert: counts.indexOf(busiest), times, limit: limit / (fair * b.rows) };
  });
  if (!found) return null;
  const { block, expert, times, limit } = found as { block: number; expert: number; times: number; limit: number };
  const name = blockName(run.blocks[block]!);
  return {
    text:
      `${name[0]!.toUpperCase()}${name.slice(1)} leans on expert ${expert}: ${times.toFixed(1)} times its fair share, ` +
      `where random routing stays below ${limit.toFixed(1)}.`,
    seen: { view: 'experts', block, expert, metric: 'share', relative: true, phase: 'all' },
  };
}

function neverUsed(run: Run): Finding | null {
  const chance = sum(run.blocks.map((b) => deadByChance(b.rows, b.n_expert_used, b.n_expert, !repeatsIds(b)) || 0));
  const dead = sum(run.blocks.map((b) => b.dead));
  if (run.blocks.some((b) => b.n_expert_used === 0)) return null;
  if (!(dead >= 1 && dead > chance + deviations * Math.sqrt(chance))) return null;
  const all = sum(run.blocks.map((b) => b.n_expert));
  return {
    text:
      `${integer(dead)} of ${integer(all)} experts were never used; ` +
      `random routing would leave out ${chance.toFixed(1)}.`,
    seen: { view: 'hottest', phase: 'all', options: { 'hottest.filter': 'dead' } },
  };
}

// A cache with room for a quarter of the experts. A fixed list of experts is chosen with the probability slots / E by chance.
function caches(run: Run): Finding | null {
  const c = run.cache;
  const lru = c?.policies.indexOf('LRU') ?? -1;
  if (!c || lru < 0 || c.slots.length === 0 || c.asked !== 'decode') return null;
  const far = c.slots.map((s) => Math.abs(s - c.n_expert / 4));
  const slot = far.indexOf(Math.min(...far));
  const at = (policy: number) => slot * c.policies.length + policy;
  const slots = c.slots[slot]!;
  const reads = Math.max(1, Math.round(c.accesses / c.ubatches / run.blocks.length));
  const chance = lruHitsByChance(slots, c.n_expert, Math.min(c.n_expert, reads));
  const hits = c.hit_rate[at(lru)]!;
  if (!(hits - chance >= aTenth)) return null;
  const fixed = c.policies.indexOf('static');
  const inVain = fixed >= 0 && c.hit_rate_low[at(fixed)]! <= slots / c.n_expert;
  return {
    text:
      `A cache pays off: LRU with ${slots} slots per layer serves ${percents(hits)} of the reads while generating, ` +
      `random routing ${percents(chance)}` +
      (inVain ? '; a static hot list is no better than chance.' : '.'),
    seen: { view: 'cache', options: { 'cache.slots': String(slots) } },
  };
}

// Neighbours: tokens of one sequence, one position after the other, both with rows in a block.
function repeats(run: Run, tile: Tile): Finding | null {
  const reader = new TileReader(tile, run);
  let overlap = 0;
  let byPopularity = 0;
  let pairs = 0;
  run.blocks.forEach((b, block) => {
    if (b.n_expert_used === 0) return;
    const before = new Map<number, { pos: number; experts: Set<number> }>(); // by sequence
    const counts = new Float64Array(b.n_expert);
    let here = 0;
    let rows = 0;
    let common = 0;
    for (let i = 0; i < tile.n; i++) {
      const experts = new Set(reader.selections(i, block).map((s) => s.expert));
      if (experts.size === 0) continue;
      rows++;
      for (const e of experts) counts[e]!++;
      const last = before.get(tile.seq[i]!);
      if (last && tile.pos[i] === last.pos + 1) {
        here++;
        for (const e of experts) common += last.experts.has(e) ? 1 : 0;
      }
      before.set(tile.seq[i]!, { pos: tile.pos[i]!, experts });
    }
    pairs += here;
    overlap += common / b.n_expert_used;
    if (here > 0)
      byPopularity += (here * counts.reduce((s, c) => s + c * (c - 1), 0)) / (rows * (rows - 1) * b.n_expert_used);
  });
  if (!(pairs > 0 && (overlap - byPopularity) / pairs >= aTenth)) return null;
  return {
    text: `Neighbouring tokens share ${percents(overlap / pairs)} of their experts, any two tokens ${percents(byPopularity / pairs)}.`,
    seen: { view: 'tokens' },
  };
}

function phases(run: Run): Finding | null {
  const both = run.blocks.filter((b) => run.cells.count_decoded && b.rows_decoded > 0 && b.rows_decoded < b.rows);
  if (both.length === 0) return null;
  const mean = (of: (prefilled: number[], decoded: number[], b: Block) => number) =>
    sum(
      both.map((b) => {
        const decoded = Array.from(countsOf(run, b, 'count_decoded')!);
        const all = countsOf(run, b)!;
        return of(
          decoded.map((d, e) => all[e]! - d),
          decoded,
          b,
        );
      }),
    ) / both.length;
  const distance = mean(jensenShannon);
  const chance = mean((p, d, b) => distanceByChance(p, d, repeatsIds(b) ? 1 : b.n_expert_used));
  if (!(distance - chance >= aTenth)) return null;
  return {
    text:
      `Prompt and generated tokens use different experts: their distance is ${distance.toFixed(2)}, ` +
      `that of one routing with itself ${chance.toFixed(2)}.`,
    seen: { view: 'experts', phase: 'decode' },
  };
}

export function findingsOf(run: Run): Finding[] {
  return [leaning(run), neverUsed(run), caches(run), repeats(run, run.tile), phases(run)]
    .filter((f) => f !== null)
    .slice(0, most);
}
