// The row above the text: which prompt or request is in sight, and where a text occurs.

import { runOf, type App } from '../app';
import type { Prompts } from '../contract';
import { fill, h } from '../dom';
import { integer, plural, visible } from '../format';
import { promptOf, promptsFrom, type Prompt } from '../prompts';
import { matchesOf, type Match } from '../token_search';
import type { TokensAtHand } from './tokens_at_hand';

const shownText = 28; // characters of a prompt in the list
const stretch = 4096; // tokens that a search asks the server for at once
const mostStretches = 50; // per press of Enter
const askEvery = 3000; // milliseconds, for the prompts of a trace that grows

export class TokenFinder {
  readonly element: HTMLElement;
  private picker = h('select', { 'aria-label': 'Prompt or request', onchange: () => this.pick() });
  private input = h('input', {
    type: 'search',
    placeholder: 'Find text …',
    'aria-label': 'Find text in the tokens',
    oninput: () => this.app.store.choose('tokens', 'find', this.input.value || null),
    onkeydown: (e: KeyboardEvent) => {
      if (e.key !== 'Enter') return;
      e.preventDefault();
      void this.step(e.shiftKey ? -1 : 1);
    },
  });
  private status = h('span', { class: 'quiet', role: 'status' });
  private previous = this.stepButton('‹', 'Previous place', -1);
  private next = this.stepButton('›', 'Next place', 1);
  private listed: Prompts | string | null = null; // what is listed: a report's, or a served run's of so many tokens
  private asked = -Infinity; // when
  private askedRun = -1;
  private prompts: Prompt[] = [];
  private searched = ''; // text and tile of the matches
  private matches: Match[] = [];

  constructor(
    private app: App,
    private atHand: TokensAtHand,
  ) {
    const finder = h('span', { class: 'finder' }, this.input, this.previous, this.next, this.status);
    this.element = h('div', { class: 'toolbar' }, this.picker, finder);
  }

  update(): void {
    this.listPrompts();
    this.search();
  }
  // The tokens of all places, and of the one that is selected.
  found(): Set<number> {
    const out = new Set<number>();
    for (const m of this.matches) for (let i = m.first; i <= m.last; i++) out.add(i);
    return out;
  }

  private stepButton(sign: string, name: string, by: 1 | -1): HTMLButtonElement {
    return h(
      'button',
      { type: 'button', class: 'button', 'aria-label': name, title: name, onclick: () => void this.step(by) },
      sign,
    );
  }

  private listPrompts(): void {
    const run = runOf(this.app);
    if (run.prompts && this.listed !== run.prompts) this.offer(run.prompts, run.prompts);
    else if (!run.prompts) void this.ask();
    this.showCurrent();
  }
  // A served page's: so many tokens have been read.
  private async ask(): Promise<void> {
    const run = runOf(this.app);
    const wanted = `${run.number}: ${run.tokens}`;
    const now = performance.now();
    if (this.listed === wanted || (this.askedRun === run.number && now < this.asked + askEvery)) return;
    this.asked = now;
    this.askedRun = run.number;
    try {
      const prompts = await this.app.source.prompts(run.number);
      if (!prompts || runOf(this.app).number !== run.number) return;
      this.offer(prompts, wanted);
      this.showCurrent();
    } catch {
      // the next update asks again
    }
  }
  private offer(prompts: Prompts, listed: Prompts | string): void {
    this.listed = listed;
    const tile = this.app.tile();
    const reachable = this.app.source.served ? Infinity : tile.first + tile.n; // a report may hold only the first tokens
    this.prompts = promptsFrom(prompts).filter((p) => p.first < reachable);
    fill(this.picker, ...this.prompts.map((p, i) => h('option', { value: String(i) }, this.nameOf(p, i))));
    this.picker.hidden = this.prompts.length < 2;
  }
  private showCurrent(): void {
    const tile = this.app.tile();
    const at = this.atHand.selected;
    const current = at === null ? 0 : promptOf(this.prompts, tile.first + at, tile.seq[at]!);
    this.picker.selectedIndex = Math.max(0, current);
  }
  private nameOf(p: Prompt, i: number): string {
    const begin = visible(this.beginningOf(p)).replace(/↵|⇥/g, ' ').trim();
    const short = begin.length > shownText ? begin.slice(0, shownText) + '…' : begin;
    const size = `${integer(p.prefilled)} + ${integer(p.decoded)} tokens`;
    return [`Prompt ${i + 1}`, p.label, short, size].filter(Boolean).join(' · ');
  }
  // As far as it is at hand.
  private beginningOf(p: Prompt): string {
    const { reader } = this.atHand;
    const { tile } = reader;
    let text = '';
    if (p.first < tile.first) return text;
    for (let i = p.first - tile.first; i < tile.n && text.length <= shownText; i++)
      if (tile.seq[i] === p.seq && reader.knowsText(i)) text += reader.textAt(i);
    return text;
  }
  private pick(): void {
    const prompt = this.prompts[this.picker.selectedIndex];
    if (prompt) this.app.store.set({ token: prompt.first, playing: false });
  }

  private search(): void {
    const wanted = this.app.store.option('tokens', 'find') ?? '';
    if (this.input.value !== wanted) this.input.value = wanted;
    const { reader } = this.atHand;
    const key = JSON.stringify([wanted, reader.tile.first, reader.tile.n, this.app.store.now.run]);
    if (key !== this.searched) {
      this.searched = key;
      this.matches = matchesOf(reader, wanted);
    }
    this.say(wanted);
  }
  private say(wanted: string): void {
    const at = this.matches.findIndex((m) => m.first === this.atHand.selected);
    const n = this.matches.length;
    const part = this.atHand.reader.tile.n < runOf(this.app).tokens ? ' in the tokens loaded' : '';
    this.status.textContent =
      wanted === '' ? '' : n === 0 ? 'nowhere' + part : at < 0 ? plural(n, 'place') + part : `${at + 1} of ${n}${part}`;
    this.previous.hidden = this.next.hidden = wanted === '';
  }

  // To the next place, or the one before; a served page goes on into tokens that are not loaded.
  private async step(by: 1 | -1): Promise<void> {
    const { first } = this.atHand;
    const at = this.atHand.selected ?? (by > 0 ? -1 : Infinity);
    const ahead = by > 0 ? this.matches.find((m) => m.first > at) : this.matches.findLast((m) => m.first < at);
    if (ahead) return this.app.store.set({ token: first + ahead.first, playing: false });
    if (this.app.source.served && (await this.stepFurther(by))) return;
    const around = by > 0 ? this.matches[0] : this.matches.at(-1);
    if (around) this.app.store.set({ token: this.atHand.first + around.first, playing: false });
  }
  private async stepFurther(by: 1 | -1): Promise<boolean> {
    const run = runOf(this.app);
    const wanted = this.app.store.option('tokens', 'find') ?? '';
    let { first, n } = this.app.tile();
    for (let i = 0; i < mostStretches && wanted !== ''; i++) {
      const from = by > 0 ? first + n : Math.max(0, first - stretch);
      if (by > 0 ? from >= run.tokens : first === 0) return false;
      this.status.textContent = `searching from token ${integer(from)} …`;
      const tile = await this.app.source.tile(run.number, from, by > 0 ? stretch : first - from);
      const found = matchesOf(this.atHand.readerOf(tile), wanted);
      const match = by > 0 ? found[0] : found.at(-1);
      if (match) {
        this.app.setTile(tile);
        this.app.store.set({ token: tile.first + match.first, playing: false });
        return true;
      }
      ({ first, n } = tile);
      if (n === 0) return false;
    }
    return false;
  }
}
