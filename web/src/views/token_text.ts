// The text as the model read it, a page of tokens at a time, each in the colour of what the shade says about it.

import { runOf, type App } from '../app';
import { colorTable, cssOf, inkOn, noValue } from '../color';
import { fill, h, Segments } from '../dom';
import { integer, real, visible } from '../format';
import { Legend } from '../legend';
import { blockName } from '../model';
import { heatScale, largest, showLegend } from '../scale';
import type { TokensAtHand } from './tokens_at_hand';

export type Shade = 'selected' | 'first' | 'spread';
const known: Shade[] = ['selected', 'first', 'spread'];

export const perPage = 1024; // token elements at once

export class TokenText {
  readonly shades: Segments<Shade>;
  readonly legend = new Legend();
  readonly text = h('div', {
    class: 'text',
    tabindex: 0,
    role: 'listbox',
    'aria-label': 'Tokens',
    onkeydown: (e: KeyboardEvent) => this.key(e),
  });
  readonly pager = h('div', { class: 'pager' });
  private elements = new Map<number, HTMLElement>(); // by index into the tile
  private pageFirst = 0; // index into the tile of the first element

  // turnTo: shows the page with this token of the run.
  constructor(
    private app: App,
    private atHand: TokensAtHand,
    private turnTo: (token: number) => void,
  ) {
    this.shades = new Segments(
      'Colour of tokens',
      [
        { value: 'selected', label: 'Selected expert', title: 'How strongly each token uses the selected expert' },
        { value: 'first', label: 'Strongest weight', title: 'The largest gate weight in the selected layer' },
        {
          value: 'spread',
          label: 'Spread',
          title: 'Entropy of the gate weights in the selected layer: bright tokens mix their experts evenly',
        },
      ],
      (shade) => app.store.choose('tokens', 'shade', shade),
    );
  }

  // Goes to the page that holds index `at` of the tile; whether that is another one than before.
  goTo(at: number): boolean {
    const first = Math.floor(at / perPage) * perPage;
    const turned = first !== this.pageFirst || this.elements.size === 0;
    this.pageFirst = first;
    return turned;
  }
  // As chosen; at first, what the selected expert takes, or without one the strongest weight.
  private get shade(): Shade {
    const chosen = known.find((s) => s === this.app.store.option('tokens', 'shade'));
    const selected = this.app.store.now.expert !== null;
    if (!chosen) return selected ? 'selected' : 'first';
    return chosen === 'selected' && !selected ? 'first' : chosen;
  }

  // Writes the token elements: passages of one sequence under each other, in the order of the text.
  write(): void {
    const { tile } = this.atHand.reader;
    const end = Math.min(tile.n, this.pageFirst + perPage);
    const bySequence = new Map<number, number[]>();
    for (let i = this.pageFirst; i < end; i++) {
      const list = bySequence.get(tile.seq[i]!);
      if (list) list.push(i);
      else bySequence.set(tile.seq[i]!, [i]);
    }
    this.elements.clear();
    const sequences = [...bySequence].sort((a, b) => a[0] - b[0]);
    const name = (seq: number) => (sequences.length > 1 || seq > 0 ? `sequence ${seq}` : '');
    fill(this.text, ...sequences.flatMap(([seq, list]) => this.passages(name(seq), list)));
    this.writePager(end);
  }

  // One sequence's tokens; a new passage where its positions begin again.
  private passages(name: string, tokens: number[]): HTMLElement[] {
    const { reader } = this.atHand;
    const { tile } = reader;
    const out: HTMLElement[] = [];
    let before = Infinity;
    let phase = -1;
    for (const i of tokens) {
      const pos = tile.pos[i]!;
      const restarts = pos >= 0 && pos <= before && before !== Infinity && pos !== before + 1;
      if (out.length === 0 || restarts) {
        out.push(h('p', { class: 'passage' }, name ? h('span', { class: 'passage-name' }, name) : null));
        phase = -1;
      }
      const passage = out.at(-1)!;
      if (phase === 0 && tile.phase[i] === 1)
        passage.append(h('span', { class: 'turn', title: 'Generated from here on' }, '▸'));
      before = pos;
      phase = tile.phase[i]!;
      passage.append(this.tokenElement(i));
      if (reader.textAt(i).includes('\n')) passage.append(h('br'));
    }
    return out;
  }

  private tokenElement(i: number): HTMLElement {
    const { reader } = this.atHand;
    const number = reader.tile.first + i;
    const e = h(
      'bdi',
      {
        class: 'token' + (reader.tile.phase[i] === 1 ? ' decoded' : ''),
        role: 'option',
        'data-token': number,
        onclick: () => this.app.store.set({ token: number, playing: false }),
      },
      visible(reader.textAt(i)),
    );
    this.elements.set(i, e);
    return e;
  }

  private writePager(end: number): void {
    const tile = this.app.tile();
    const total = runOf(this.app).tokens;
    const go = (to: number) => this.turnTo(Math.max(0, Math.min(total - 1, to)));
    const first = tile.first + this.pageFirst;
    const last = tile.first + end;
    const reachable = this.app.source.served ? total : tile.first + tile.n;
    const button = (label: string, name: string, to: number, on: boolean) =>
      h('button', { type: 'button', class: 'button', 'aria-label': name, disabled: !on, onclick: () => go(to) }, label);
    fill(
      this.pager,
      button('«', 'First tokens', 0, first > 0),
      button('‹', 'Earlier tokens', first - perPage, first > 0),
      h('span', { class: 'quiet' }, `tokens ${integer(first)} – ${integer(last - 1)} of ${integer(total)}`),
      button('›', 'Later tokens', last, last < reachable),
      button('»', 'Last tokens', reachable - 1, last < reachable),
    );
    this.pager.hidden = first === 0 && last >= reachable && last >= total;
  }

  // What a token's colour says, 0 … 1; NaN: nothing.
  private shadeOf(i: number): number {
    const { block, expert } = this.app.store.now;
    const { reader } = this.atHand;
    if (this.shade === 'selected') return expert === null ? NaN : (reader.weightOf(i, block, expert) ?? NaN);
    const weights = reader.selections(i, block).map((s) => s.weight);
    if (weights.length === 0) return NaN;
    if (this.shade === 'first') return Math.max(...weights);
    const sum = weights.reduce((a, b) => a + b, 0);
    return weights.length < 2
      ? 0
      : -weights.reduce((a, w) => a + (w > 0 ? (w / sum) * Math.log(w / sum) : 0), 0) / Math.log(weights.length);
  }
  private shadeTitle(): string {
    const { block, expert } = this.app.store.now;
    const layer = blockName(runOf(this.app).blocks[block]!);
    if (this.shade === 'selected') return `gate weight of expert ${expert} in ${layer}`;
    return this.shade === 'first' ? `largest gate weight in ${layer}` : `entropy of the gate weights in ${layer}`;
  }

  paint(): void {
    const { theme } = this.app.store.now;
    this.shades.set(this.shade);
    const values = new Map([...this.elements.keys()].map((i) => [i, this.shadeOf(i)]));
    const scale = heatScale(largest([...values.values()]) || 1);
    const table = colorTable(theme, 'heat');
    for (const [i, e] of this.elements) {
      const index = scale.index([values.get(i)!])[0]!;
      e.style.backgroundColor = index === noValue ? '' : cssOf(table[index]!);
      e.style.color = index === noValue ? '' : inkOn(table[index]!);
    }
    showLegend(this.legend, theme, scale, real, null);
    this.legend.element.title = this.shadeTitle();
  }

  // Underlines the tokens of a search.
  markFound(found: ReadonlySet<number>): void {
    for (const [i, e] of this.elements) e.classList.toggle('found', found.has(i));
  }
  // Marks the selected token, and while they are played those of its ubatch; scrolls to it if asked to.
  mark(scroll: boolean): void {
    const at = this.atHand.selected;
    const together = at === null ? null : this.atHand.reader.ubatchOf(at);
    const { playing } = this.app.store.now;
    for (const [i, e] of this.elements) {
      e.setAttribute('aria-selected', String(i === at));
      e.classList.toggle('together', together !== null && playing && i >= together[0] && i < together[1]);
    }
    const e = at === null ? undefined : this.elements.get(at);
    if (scroll && e) this.scrollTo(e);
  }
  private scrollTo(e: HTMLElement): void {
    const box = this.text;
    if (e.offsetTop < box.scrollTop || e.offsetTop > box.scrollTop + box.clientHeight - 30)
      box.scrollTop = e.offsetTop - box.clientHeight / 2;
  }

  private key(e: KeyboardEvent): void {
    const step: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -10, ArrowDown: 10 };
    if (!(e.key in step) || e.altKey || e.ctrlKey || e.metaKey) return;
    const tile = this.app.tile();
    const at = this.atHand.selected;
    const next = at === null ? this.pageFirst : Math.min(tile.n - 1, Math.max(0, at + step[e.key]!));
    this.app.store.set({ token: tile.first + next, playing: false });
    e.preventDefault();
  }
}
