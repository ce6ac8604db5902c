// The domains as a table: how much text each has, and the expert of all layers that it uses most above the others, as
// `moescope stats` of a profile names it.

import { percents } from '../aligned';
import type { Numbers } from '../bundle';
import type { Block } from '../contract';
import { fill, h } from '../dom';
import { integer, percent } from '../format';
import { wilson } from '../measures';

// One label of a run, or one of several runs.
export interface Side {
  label: string;
  count: Numbers; // by cell
  blocks: Block[];
  rows: (block: number) => number;
}

export interface Leaning {
  block: number;
  expert: number;
  own: number; // share of the domain's rows
  others: number; // of the rows of all others
}

// By the ends of the two 95 % intervals that face each other; null where none is apart.
export function leaningOf(sides: Side[], side: Side): Leaning | null {
  let found: Leaning | null = null;
  let widest = 0;
  side.blocks.forEach((b, block) => {
    const rows = side.rows(block);
    const all = sides.reduce((s, x) => s + x.rows(block), 0);
    if (b.block > 0 || rows === 0 || all <= rows) return;
    for (let expert = 0; expert < b.n_expert; expert++) {
      const n = side.count[b.first_cell + expert]!;
      const everywhere = sides.reduce((s, x) => s + x.count[x.blocks[block]!.first_cell + expert]!, 0);
      const gap = wilson(n, rows)[0] - wilson(everywhere - n, all - rows)[1];
      if (gap > widest) {
        widest = gap;
        found = { block, expert, own: n / rows, others: (everywhere - n) / (all - rows) };
      }
    }
  });
  return found;
}

export class LabelTable {
  readonly element: HTMLElement;
  private rows = h('tbody', null);

  constructor(private choose: (domain: number, block: number, expert: number) => void) {
    const heads = ['Domain', 'Rows', 'Of all', 'Leans on', 'Of its rows', 'Of the others’'];
    const head = h('tr', null, ...heads.map((t) => h('th', null, t)));
    this.element = h('div', { class: 'scroll-x' }, h('table', { class: 'labels' }, h('thead', null, head), this.rows));
  }

  draw(sides: Side[]): void {
    // Of the layer that has most: the last one may compute fewer.
    const sizes = sides.map((s) => Math.max(...s.blocks.map((_, block) => s.rows(block))));
    const total = sizes.reduce((a, b) => a + b, 0);
    const leanings = sides.map((s) => leaningOf(sides, s));
    const part = percents(sizes.map((n) => n / total));
    const own = percents(leanings.map((l) => l?.own ?? NaN));
    fill(
      this.rows,
      ...sides.map((s, i) => {
        const l = leanings[i]!;
        const where = l ? `layer ${s.blocks[l.block]!.layer}, expert ${l.expert}` : 'none stands out';
        return h(
          'tr',
          l ? { tabindex: 0, onclick: () => this.choose(i, l.block, l.expert) } : null,
          h('td', { class: 'left' }, s.label),
          h('td', null, integer(sizes[i]!)),
          h('td', null, part(sizes[i]! / total)),
          h('td', null, where),
          h('td', null, own(l?.own)),
          h('td', null, percent(l?.others)),
        );
      }),
    );
  }
}
