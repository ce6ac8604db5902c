// The keys that work in every view, and the list of all keys, which help.ts shows. An element that has keys of its own handles them itself.

import { runOf, type App } from './app';
import type { ViewName } from './state';

// What keys can do beside changing the state.
export interface KeyTarget {
  readonly app: App;
  viewNames(): ViewName[];
  toggleTheme(): void;
  showHelp(): void;
  nextMetric(): void;
  copyLink(): void;
  findText(): void;
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
    c: () => on.copyLink(),
    '/': () => on.findText(),
    Escape: () => store.set({ expert: null, token: null, playing: false }),
  };
  if (!/^[0-9]$/.test(key)) return actions[key] ?? null;
  const view = on.viewNames()[key === '0' ? 9 : Number(key) - 1];
  return () => view && store.set({ view });
}

export function pressKey(e: KeyboardEvent, on: KeyTarget): void {
  const target = e.target as HTMLElement;
  if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || target.closest('input, select, textarea, dialog'))
    return;
  if (e.key === ' ' && target.closest('button, summary, tr')) return; // where Space presses what has the focus
  const action = actionOf(e.key, on);
  if (!action) return;
  action();
  e.preventDefault();
}

export const keyList: [key: string, what: string][] = [
  ['1 … 9, 0', 'switch views; 0 is the tenth'],
  ['← ↑ → ↓', 'move through cells or tokens; ten at a time with Shift'],
  ['Enter', 'go from a cell to its tokens'],
  ['[ ]', 'previous or next layer'],
  ['m', 'next metric'],
  ['r', 'absolute or against balance'],
  ['s', 'next order of experts'],
  ['Space', 'play through the generated tokens'],
  ['+ − 0', 'in a picture: zoom in, out, reset; or the wheel with Ctrl or ⌘'],
  ['t', 'dark or light theme'],
  ['Esc', 'clear the selection'],
  ['c', 'copy a link to this view'],
  ['/', 'find text in the tokens'],
  ['?', 'these words and keys'],
];
