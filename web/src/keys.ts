// The keys that work in every view, and the list of all keys. An element that has keys of its own handles them itself.

import { runOf, type App } from './app';
import { h } from './dom';
import type { ViewName } from './state';

// What keys can do beside changing the state.
export interface KeyTarget {
  readonly app: App;
  viewNames(): ViewName[];
  toggleTheme(): void;
  showHelp(): void;
  nextMetric(): void;
}

const sorts = ['id', 'heat', 'similarity'] as const;

// What a key does; null: nothing.
function actionOf(key: string, on: KeyTarget): (() => void) | null {
  const { store } = on.app;
  const { now } = store;
  const step = (by: 1 | -1) => {
    const last = runOf(on.app).blocks.length - 1;
    store.set({ block: Math.min(last, Math.max(0, now.block + by)) });
  };
  const actions: Record<string, () => void> = {
    t: () => on.toggleTheme(),
    '?': () => on.showHelp(),
    '[': () => step(-1),
    ']': () => step(1),
    m: () => on.nextMetric(),
    r: () => store.set({ relative: !now.relative }),
    s: () => store.set({ sort: sorts[(sorts.indexOf(now.sort) + 1) % sorts.length]! }),
    ' ': () => store.set({ playing: !now.playing }),
    Escape: () => store.set({ expert: null, token: null, playing: false }),
  };
  if (!/^[1-8]$/.test(key)) return actions[key] ?? null;
  const view = on.viewNames()[Number(key) - 1];
  return () => view && store.set({ view });
}

export function pressKey(e: KeyboardEvent, on: KeyTarget): void {
  const target = e.target as HTMLElement;
  if (e.ctrlKey || e.metaKey || e.altKey || target.closest('input, select, dialog')) return;
  if (e.key === ' ' && target.closest('button, summary, tr')) return; // where Space presses what has the focus
  const action = actionOf(e.key, on);
  if (!action) return;
  action();
  e.preventDefault();
}

const list: [key: string, what: string][] = [
  ['1 … 8', 'switch views'],
  ['← ↑ → ↓', 'move through cells or tokens; ten at a time with Shift'],
  ['Enter', 'go from a cell to its tokens'],
  ['[ ]', 'previous or next layer'],
  ['m', 'next metric'],
  ['r', 'absolute or relative to balance'],
  ['s', 'next order of experts'],
  ['Space', 'play through the generated tokens'],
  ['+ − 0', 'zoom in, out, reset; or the wheel with Ctrl or ⌘'],
  ['t', 'dark or light theme'],
  ['Esc', 'clear the selection'],
  ['?', 'this list'],
];

export function keysDialog(): HTMLDialogElement {
  const dialog = h(
    'dialog',
    { class: 'help', 'aria-label': 'Keys' },
    h('h2', null, 'Keys'),
    h(
      'dl',
      { class: 'facts' },
      ...list.flatMap(([k, what]) => [h('dt', null, h('kbd', null, k)), h('dd', null, what)]),
    ),
    h('form', { method: 'dialog' }, h('button', { class: 'button' }, 'Close')),
  );
  dialog.addEventListener('click', (e) => {
    if (e.target === dialog) dialog.close(); // on the backdrop
  });
  return dialog;
}
