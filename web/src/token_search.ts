// Finding text in tokens: also where it begins in one token and ends in another. Case does not matter.

import type { TileReader } from './model';

export interface Match {
  first: number; // indices into the tile
  last: number;
}

// All places of a text in a tile, in the order of their first tokens. Sequences are searched one by one, as they were read.
export function matchesOf(reader: TileReader, wanted: string): Match[] {
  const text = wanted.toLowerCase();
  if (text === '') return [];
  const bySequence = new Map<number, number[]>();
  for (let i = 0; i < reader.tile.n; i++) {
    const list = bySequence.get(reader.tile.seq[i]!);
    if (list) list.push(i);
    else bySequence.set(reader.tile.seq[i]!, [i]);
  }
  const found: Match[] = [];
  for (const tokens of bySequence.values()) {
    const pieces = tokens.map((i) => (reader.knowsText(i) ? reader.textAt(i).toLowerCase() : '\u0000'));
    const ends: number[] = []; // of each piece, in the whole
    pieces.reduce((at, p, i) => (ends[i] = at + p.length), 0);
    const whole = pieces.join('');
    let at = 0; // the token that holds the match's beginning
    for (let i = whole.indexOf(text); i >= 0; i = whole.indexOf(text, i + 1)) {
      while (ends[at]! <= i) at++;
      let last = at;
      while (ends[last]! < i + text.length) last++;
      found.push({ first: tokens[at]!, last: tokens[last]! });
    }
  }
  return found.sort((a, b) => a.first - b.first);
}
