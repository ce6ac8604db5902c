// Numbers and untrusted text for people.

import { format } from 'd3-format';

export const integer = format(',d');
const significant = format('.4~r');

export function real(v: number | null | undefined): string {
  if (v === null || v === undefined || Number.isNaN(v)) return '–';
  if (v === 0) return '0';
  return Math.abs(v) < 1e-4 || Math.abs(v) >= 1e7 ? format('.3~e')(v) : significant(v);
}
export function percent(v: number | null | undefined): string {
  if (v === null || v === undefined || Number.isNaN(v)) return '–';
  const p = v * 100;
  return (p === 0 ? '0' : p < 0.01 ? '<0.01' : p < 10 ? p.toFixed(2) : p.toFixed(1)) + ' %';
}
export function times(v: number | null | undefined): string {
  return v === null || v === undefined || Number.isNaN(v) ? '–' : (v >= 10 ? v.toFixed(1) : v.toFixed(2)) + '×';
}
export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let u = 0;
  while (n >= 1024 && u < units.length - 1) {
    n /= 1024;
    u++;
  }
  return (u === 0 ? String(n) : n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0)) + ' ' + units[u];
}
export function compact(n: number): string {
  return n < 10000 ? integer(n) : format('.3~s')(n).replace('G', 'B');
}
export function seconds(s: number): string {
  if (s < 1) return (s * 1000).toFixed(0) + ' ms';
  return s < 60 ? s.toFixed(s < 10 ? 2 : 1) + ' s' : Math.floor(s / 60) + ' min ' + Math.round(s % 60) + ' s';
}
export function plural(n: number, one: string, many = one + 's'): string {
  return `${integer(n)} ${n === 1 ? one : many}`;
}

const strict = new TextDecoder('utf-8', { fatal: true });

// A token's bytes as text; bytes that are no UTF-8 of their own (half a character) as ‹E2 80›.
export function pieceText(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return '‹' + [...bytes].map((b) => b.toString(16).toUpperCase().padStart(2, '0')).join(' ') + '›';
  }
}

// Control characters, direction marks and other invisible ones as symbols, so that every token can be seen.
export function visible(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (c) => {
    if (c === '\n') return '↵';
    if (c === '\t') return '⇥';
    if (c === '\r') return '␍';
    const code = c.charCodeAt(0);
    return code < 0x20
      ? String.fromCharCode(0x2400 + code)
      : '‹' + code.toString(16).toUpperCase().padStart(4, '0') + '›';
  });
}
export function quoted(text: string): string {
  return '“' + visible(text).replace(/ /g, '␣') + '”';
}

export function csv(rows: (string | number)[][]): string {
  // A leading =, +, -, @ would make a spreadsheet run text as a formula.
  const cell = (v: string | number) => {
    if (typeof v === 'number') return Number.isNaN(v) ? '' : String(v);
    const safe = /^[=+\-@\t\r]/.test(v) ? "'" + v : v;
    return /[",\n\r]/.test(safe) ? '"' + safe.replace(/"/g, '""') + '"' : safe;
  };
  return rows.map((r) => r.map(cell).join(',')).join('\n') + '\n';
}
