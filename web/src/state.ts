// What is selected, shared by all views. Views change it with set() and hear of every change through on().

export type ViewName =
  'experts' | 'memory' | 'tokens' | 'pairs' | 'domains' | 'cache' | 'foresight' | 'hottest' | 'damage' | 'compare';
export type Phase = 'all' | 'decode' | 'prefill';
export type Metric = 'count' | 'share' | 'weight_mean' | 'reap' | 'ean' | 'accesses';
export type Sort = 'id' | 'heat' | 'similarity';

export interface State {
  view: ViewName;
  run: number;
  block: number; // index into the run's blocks
  expert: number | null; // of that block
  token: number | null; // number in the run
  metric: Metric;
  relative: boolean; // against balance rather than absolute
  sort: Sort;
  phase: Phase;
  theme: 'light' | 'dark';
  playing: boolean;
}

type Listener = (changed: ReadonlySet<keyof State>) => void;

export class Store {
  private listeners: Listener[] = [];
  constructor(private state: State) {}

  get now(): Readonly<State> {
    return this.state;
  }
  set(patch: Partial<State>): void {
    const changed = new Set<keyof State>();
    for (const key of Object.keys(patch) as (keyof State)[]) {
      if (this.state[key] !== patch[key]) changed.add(key);
    }
    if (changed.size === 0) return;
    this.state = { ...this.state, ...patch };
    for (const listener of this.listeners) listener(changed);
  }
  on(listener: Listener): void {
    this.listeners.push(listener);
  }
}
