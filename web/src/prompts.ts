// The prompts of a run, or the requests of a server: where each begins, how long it is, its label. The rule is that of
// src/trace/requests.hpp: one begins where a sequence does, with the first prompt token after generated ones, where positions
// jump, or with a generated token that goes back behind another: the last one of a prompt that the cache held.

import type { Prompts, Run, Tile } from './contract';

export interface Prompt {
  first: number; // its first token's number in the run
  seq: number;
  prefilled: number;
  decoded: number;
  label: string; // '': none
}

// Notes such as {"prompt":3,"line":4,"label":"code","batch":17}: the label of each prompt, in their order.
export function labelsIn(notes: string[]): string[] {
  const labels: string[] = [];
  for (const note of notes) {
    if (!note.startsWith('{')) continue;
    try {
      const said = JSON.parse(note) as { prompt?: unknown; label?: unknown };
      if (Number.isInteger(said.prompt) && typeof said.label === 'string') labels[said.prompt as number] = said.label;
    } catch {
      // a note for people
    }
  }
  return labels;
}

// Of the tokens of one tile; the labels are known where it is the run's first.
export function promptsIn(run: Run, tile: Tile): Prompt[] {
  const labels = tile.first === 0 ? labelsIn(run.source.notes) : [];
  const found: Prompt[] = [];
  const latest = new Map<number, { prompt: Prompt; pos: number; prefills: boolean }>(); // by sequence
  for (let i = 0; i < tile.n; i++) {
    const seq = tile.seq[i]!;
    const pos = tile.pos[i]!;
    const decoded = tile.phase[i] === 1;
    const last = latest.get(seq);
    const follows = last !== undefined && last.prefills && (pos < 0 || pos === last.pos + 1);
    const again = last !== undefined && decoded && !last.prefills && pos >= 0 && pos <= last.pos;
    let prompt = last?.prompt;
    if (!prompt || again || (!decoded && !follows)) {
      const label = labels[found.length] ?? '';
      prompt = { first: tile.first + i, seq, prefilled: 0, decoded: 0, label };
      found.push(prompt);
    }
    latest.set(seq, { prompt, pos, prefills: !decoded });
    if (decoded && !again) prompt.decoded++;
    else prompt.prefilled++;
  }
  return found;
}

export function promptsFrom(p: Prompts): Prompt[] {
  return Array.from(p.sequence, (seq, i) => ({
    first: p.first[i]!,
    seq,
    prefilled: p.prefilled[i]!,
    decoded: p.decoded[i]!,
    label: p.labels[i] ?? '',
  }));
}

// The prompt that a token of a sequence belongs to: the last one of the sequence that has begun. -1: none.
export function promptOf(prompts: Prompt[], token: number, seq: number): number {
  return prompts.findLastIndex((p) => p.seq === seq && p.first <= token);
}
