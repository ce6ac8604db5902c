// What src/report/page_data.hpp declares, as the page receives it. Change the two together.

import type { Numbers } from './bundle';

export interface Block {
  layer: number;
  block: number;
  n_expert: number;
  n_expert_used: number;
  mtp: boolean;
  given_ids: boolean;
  norms_gated: boolean;
  captured: string;
  first_cell: number;
  rows: number;
  rows_decoded: number;
  entropy: number | null;
  gini: number | null;
  max_vio: number | null;
  dead: number;
  coverage: [number, number, number, number];
}

export interface Cells {
  count: Numbers;
  count_decoded: Numbers | null;
  accesses: Numbers | null;
  weight_mean: Float32Array | null;
  ean: Float32Array | null;
  reap: Float32Array | null;
}

export interface Quantised {
  least: number;
  step: number;
  value: Uint16Array;
} // 65535: not a finite number

export interface TileRows {
  present: Uint8Array | null;
  ids: Numbers;
  weights: Quantised | null;
}

export interface Tile {
  first: number;
  n: number;
  token: Int32Array;
  pos: Int32Array;
  seq: Int32Array;
  phase: Uint8Array;
  ubatch: Uint32Array;
  time_s: Float64Array;
  rows: TileRows[];
  pieces: { token: Int32Array; end: Uint32Array; bytes: Uint8Array };
}

export interface Domain {
  label: string;
  sequences: number;
  rows: number[];
  count: Numbers;
} // rows by block, count by cell

// [list][m] and the like as in page_data.hpp: page_foresight; m: lists of the first k, 2k, 3k. NaN: nothing is foreseen.
export interface Foresight {
  lists: string[];
  recall: Float64Array;
  recall_low: Float64Array;
  recall_high: Float64Array;
  layer: number[];
  layer_recall: Float64Array;
  own: number | null;
  prefetchers: string[];
  slots: number[];
  slice_times: number[];
  stall: Float64Array;
  fetched: Float64Array;
  in_vain: Float64Array; // [slots][slice time][prefetcher] per token, in times of a layer
  slice_bytes: number;
  layer_seconds: number | null;
}

export interface Cache {
  asked: 'decode' | 'prefill' | 'all';
  of_tokens: number;
  tokens: number;
  ubatches: number;
  accesses: number;
  cold: number;
  units: number;
  units_are_sequences: boolean;
  n_expert: number;
  slots: number[];
  policies: string[];
  hit_rate: Float64Array;
  hit_rate_low: Float64Array;
  hit_rate_high: Float64Array;
  bytes_per_token: Float64Array; // [scope][slots][policy]
  foresight: Foresight | null;
  too_many: number;
}

// Prompts, or the requests of a server, in the order in which they begin; parallel. labels: empty where no prompt has one.
export interface Prompts {
  first: Numbers;
  sequence: Int32Array;
  prefilled: Numbers;
  decoded: Numbers;
  labels: string[];
}

export interface Run {
  label: string;
  number: number;
  text: boolean;
  tokens: number;
  decoded: number;
  ubatches: number;
  source: {
    file: string;
    format: string;
    program: string;
    writer_version: string;
    stream: number;
    started_unix_ms: number;
    captured: string;
    counts_only: boolean;
    parts: number;
    bytes: number;
    ended: boolean;
    end_reason: string;
    run_s: number;
    lost_bytes: number;
    notes: string[];
  };
  model: {
    architecture: string;
    name: string;
    file: string;
    file_size: number;
    n_layer: number;
    n_expert: number;
    n_expert_used: number;
    n_embd: number;
    n_vocab: number;
  };
  blocks: Block[];
  cells: Cells;
  pairs: { complete: boolean; count: (Numbers | null)[] };
  domains: Domain[];
  cache: Cache | null;
  prompts: Prompts | null; // null: a served page asks for them, a profile has none
  tile: Tile;
}

export interface Memory {
  files: { name: string; size: number }[];
  tensors: string[];
  types: string[];
  components: string[];
  tensor: Uint32Array;
  expert: Int32Array;
  part: Uint32Array;
  offset: Float64Array;
  size: Float64Array;
  layer: Int32Array;
  component: Uint32Array;
  accesses: Float64Array[]; // [run][entry], -1: not recorded
  first_ids: { layer: number; ids: number[] }[]; // of a reordered model: [expert] its number in the first order
  bytes_per_token: number;
}

// [KL, its 95 % interval: from, to, more NLL, share with the same top token, share of selections displaced]; null: unknown.
export type DamageCell = [
  kl: number | null,
  low: number | null,
  high: number | null,
  delta_nll: number | null,
  same_top: number | null,
  displaced: number | null,
];

export interface DamageRow {
  name: string;
  criterion: string; // '': the plan has none
  keep: number; // experts kept in each layer, -1: not said
  layer: number; // of an expert left out alone, else -1
  expert: number;
  cells: DamageCell[]; // of the whole text, then of each label
}

export interface Damage {
  model: string;
  corpus: string;
  samples: number;
  tokens: number;
  n_expert: number;
  labels: string[];
  rows: DamageRow[];
}

export interface Page {
  version: number;
  generator: string;
  served: boolean;
  live: boolean;
  progress: number;
  notes: string[];
  runs: Run[];
  memory: Memory | null;
  damage: Damage | null;
}
