// Plays through the generated tokens: selects one after the other.

import type { App } from '../app';
import { h } from '../dom';
import { plural } from '../format';
import type { TokensAtHand } from './tokens_at_hand';

const perToken = 220; // milliseconds

export class TokenPlayer {
  readonly element: HTMLElement;
  private play = h('button', { type: 'button', class: 'button play', onclick: () => this.toggle() });
  private status = h('span', { class: 'quiet', role: 'status' });
  private timer = 0;

  constructor(
    private app: App,
    private atHand: TokensAtHand,
  ) {
    const button = (name: string, label: string, by: 1 | -1) =>
      h('button', { type: 'button', class: 'button', 'aria-label': name, onclick: () => this.step(by) }, label);
    this.element = h(
      'div',
      { class: 'player' },
      button('Previous generated token', '‹', -1),
      this.play,
      button('Next generated token', '›', 1),
      this.status,
    );
  }

  // Does what the state says: plays, or stands still.
  run(): void {
    const { playing } = this.app.store.now;
    const tile = this.app.tile();
    clearInterval(this.timer);
    if (playing) this.timer = window.setInterval(() => this.step(1), perToken);
    this.play.textContent = playing ? 'Pause' : 'Play';
    const generated = tile.phase.reduce((n, p) => n + p, 0);
    this.status.textContent = generated > 0 ? plural(generated, 'generated token') : plural(tile.n, 'token');
  }

  private toggle(): void {
    this.app.store.set({ playing: !this.app.store.now.playing });
  }
  // The next or previous generated token; around the ends. Without generated ones, any token.
  private step(by: 1 | -1): void {
    const tile = this.app.tile();
    const at = this.atHand.selected;
    const decoded = [...tile.phase.keys()].filter((i) => tile.phase[i] === 1);
    const list = decoded.length > 0 ? decoded : [...tile.phase.keys()];
    const next =
      by > 0
        ? (list.find((i) => i > (at ?? -1)) ?? list[0]!)
        : (list.findLast((i) => i < (at ?? tile.n)) ?? list.at(-1)!);
    this.app.store.set({ token: tile.first + next });
  }
}
