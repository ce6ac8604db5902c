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
  options: Readonly<Record<string, string>>; // 'view.name': what was chosen in one view alone
}

// What a page begins with, but for the view and the theme.
export const firstChoices = {
  run: 0,
  block: 0,
  expert: null,
  token: null,
  metric: 'share',
  relative: true,
  sort: 'id',
  phase: 'all',
} as const satisfies Partial<State>;

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
  // What was chosen in one view alone; undefined: nothing yet.
  option(view: ViewName, name: string): string | undefined {
    return this.state.options[`${view}.${name}`];
  }
  // null: nothing again.
  choose(view: ViewName, name: string, value: string | number | null): void {
    const key = `${view}.${name}`;
    const { [key]: before, ...others } = this.state.options;
    if (value === null ? before !== undefined : before !== String(value))
      this.set({ options: value === null ? others : { ...others, [key]: String(value) } });
  }
  on(listener: Listener): void {
    this.listeners.push(listener);
  }
}
