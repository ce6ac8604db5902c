// The memory map beside the routing: which entries belong to which expert.

import type { Memory, Run } from './contract';

export function isSlice(m: Memory, entry: number): boolean {
  return m.expert[entry]! >= 0;
}

// The block whose ids choose this slice: of the entry's layer, with as many experts as the tensor has slices.
export class SliceIndex {
  readonly blockOf: Int32Array; // [entry] index into the run's blocks, -1: none
  private entries = new Map<number, number[]>(); // cell -> its slices

  constructor(m: Memory, run: Run) {
    const slices = new Map<number, number>();
    m.expert.forEach((e, i) => {
      if (e >= 0) slices.set(m.tensor[i]!, Math.max(slices.get(m.tensor[i]!) ?? 0, e + 1));
    });
    this.blockOf = new Int32Array(m.expert.length).fill(-1);
    for (let i = 0; i < m.expert.length; i++) {
      if (m.expert[i]! < 0) continue;
      const block = run.blocks.findIndex((b) => b.layer === m.layer[i] && b.n_expert === slices.get(m.tensor[i]!));
      this.blockOf[i] = block;
      if (block < 0) continue;
      const cell = run.blocks[block]!.first_cell + m.expert[i]!;
      const list = this.entries.get(cell);
      if (list) list.push(i);
      else this.entries.set(cell, [i]);
    }
  }
  slicesOf(cell: number): readonly number[] {
    return this.entries.get(cell) ?? [];
  }
}

// By the run and by where its experts lie: a reordered file can be shown in two orders.
const known = new WeakMap<Run, WeakMap<Int32Array, SliceIndex>>();
export function sliceIndex(m: Memory, run: Run): SliceIndex {
  let ofRun = known.get(run);
  if (!ofRun) known.set(run, (ofRun = new WeakMap()));
  let index = ofRun.get(m.expert);
  if (!index) ofRun.set(m.expert, (index = new SliceIndex(m, run)));
  return index;
}

// Bytes of each cell's matrices; null without a model.
export function sliceBytes(m: Memory | null, run: Run): Float64Array | null {
  if (!m) return null;
  const index = sliceIndex(m, run);
  return Float64Array.from({ length: run.cells.count.length }, (_, cell) =>
    index.slicesOf(cell).reduce((sum, i) => sum + m.size[i]!, 0),
  );
}

// How much each entry was used: ubatches that read it, or where a run holds only counts, rows that selected the slice's expert.
// NaN where that is not known.
export interface EntryUse {
  values: Float64Array;
  verb: 'read' | 'selected';
}
export function useOf(m: Memory, run: Run, runIndex: number): EntryUse {
  const reads = m.accesses[runIndex];
  if (run.cells.accesses)
    return { verb: 'read', values: Float64Array.from(m.offset, (_, i) => (reads && reads[i]! >= 0 ? reads[i]! : NaN)) };
  const { blockOf } = sliceIndex(m, run);
  const rows = (i: number) =>
    blockOf[i]! < 0 ? NaN : run.cells.count[run.blocks[blockOf[i]!]!.first_cell + m.expert[i]!]!;
  return { verb: 'selected', values: Float64Array.from(m.offset, (_, i) => rows(i)) };
}

// How much of the file a run has read. `reads`: by entry, NaN where it is not known.
export interface ReadSums {
  slices: number;
  sliceBytes: number;
  slicesRead: number;
  bytesRead: number; // of slices
  othersUnknown: number; // tensors outside the experts of which nothing is known
}
export function sumReads(m: Memory, reads: Float64Array): ReadSums {
  const sums: ReadSums = { slices: 0, sliceBytes: 0, slicesRead: 0, bytesRead: 0, othersUnknown: 0 };
  reads.forEach((n, i) => {
    if (!isSlice(m, i)) {
      if (Number.isNaN(n)) sums.othersUnknown++;
      return;
    }
    sums.slices++;
    sums.sliceBytes += m.size[i]!;
    if (n > 0) {
      sums.slicesRead++;
      sums.bytesRead += m.size[i]!;
    }
  });
  return sums;
}

export function entryName(m: Memory, entry: number): string {
  const e = m.expert[entry]!;
  return m.tensors[m.tensor[entry]!]! + (e >= 0 ? `[${e}]` : '');
}
