// Dark or light: as the reader chose on an earlier visit, else as the system says.

import type { Theme } from './color';

const key = 'moescope-theme';

export function keptTheme(): Theme {
  let kept: string | null = null;
  try {
    kept = localStorage.getItem(key);
  } catch {
    // storage may be forbidden
  }
  if (kept === 'dark' || kept === 'light') return kept;
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

export function keepTheme(theme: Theme): void {
  try {
    localStorage.setItem(key, theme);
  } catch {
    // storage may be forbidden
  }
}
