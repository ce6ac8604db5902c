// The page's address says what is in sight: "#pairs?layer=5&expert=15&measure=lift". What is not said is as at first.

import type { Block, Page, Run } from './contract';
import { availableMetrics } from './model';
import { firstChoices, type Metric, type Phase, type Sort, type State, type ViewName } from './state';

const sorts: Sort[] = ['id', 'heat', 'similarity'];
const phases: Phase[] = ['all', 'decode', 'prefill'];
const shared = ['run', 'layer', 'expert', 'token', 'metric', 'scale', 'order', 'tokens']; // names that all views have

// A layer by its number, its second block as "7.1".
const nameOf = (b: Block) => (b.block > 0 ? `${b.layer}.${b.block}` : String(b.layer));

export function toHash(state: Readonly<State>, page: Page): string {
  const { view, run, block, expert, token, metric, relative, sort, phase, options } = state;
  const said = new URLSearchParams();
  const say = (name: string, value: string | number | null, first: string | number | null) => {
    if (value !== null && value !== first) said.set(name, String(value));
  };
  say('run', run + 1, firstChoices.run + 1);
  if (block !== firstChoices.block || expert !== null) said.set('layer', nameOf(page.runs[run]!.blocks[block]!));
  say('expert', expert, null);
  say('token', token, null);
  say('metric', metric, firstChoices.metric);
  say('scale', relative ? 'relative' : 'absolute', firstChoices.relative ? 'relative' : 'absolute');
  say('order', sort, firstChoices.sort);
  say('tokens', phase, firstChoices.phase);
  for (const [key, value] of Object.entries(options)) {
    if (key.startsWith(view + '.')) said.set(key.slice(view.length + 1), value);
  }
  const text = said.toString();
  return '#' + view + (text ? '?' + text : '');
}

function numberIn(said: URLSearchParams, name: string, below: number): number | null {
  const text = said.get(name) ?? '';
  return /^\d+$/.test(text) && Number(text) < below ? Number(text) : null;
}
function oneOf<T extends string>(text: string | null, known: readonly T[], first: T): T {
  return known.includes(text as T) ? (text as T) : first;
}
function blockIn(said: URLSearchParams, run: Run): number {
  const found = run.blocks.findIndex((b) => nameOf(b) === said.get('layer'));
  return found < 0 ? firstChoices.block : found;
}

// What the address says; whatever in it the page does not have is as at first.
export function fromHash(hash: string, page: Page, views: ViewName[], before: Readonly<State>): Partial<State> {
  const [name, query] = hash.replace(/^#/, '').split(/\?(.*)/s);
  const view = oneOf(name ?? '', views, views[0]!);
  const said = new URLSearchParams(query ?? '');
  const runNumber = numberIn(said, 'run', page.runs.length + 1);
  const run = runNumber ? runNumber - 1 : firstChoices.run;
  const r = page.runs[run]!;
  const block = blockIn(said, r);
  const others = Object.entries(before.options).filter(([key]) => !key.startsWith(view + '.'));
  const own = [...said].filter(([key]) => !shared.includes(key)).map(([key, value]) => [`${view}.${key}`, value]);
  return {
    view,
    run,
    block,
    expert: numberIn(said, 'expert', r.blocks[block]!.n_expert),
    token: numberIn(said, 'token', r.tokens),
    metric: oneOf<Metric>(said.get('metric'), availableMetrics(r), firstChoices.metric),
    relative: oneOf(said.get('scale'), ['absolute', 'relative'], 'relative') === 'relative',
    sort: oneOf(said.get('order'), sorts, firstChoices.sort),
    phase: oneOf(said.get('tokens'), phases, firstChoices.phase),
    options: Object.fromEntries([...others, ...own]),
  };
}
