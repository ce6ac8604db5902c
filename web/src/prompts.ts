// The prompts of a run, or the requests of a server, one by one.

import type { Prompts } from './contract';

export interface Prompt {
  first: number; // its first token's number in the run
  seq: number;
  prefilled: number;
  decoded: number;
  label: string; // '': none
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
