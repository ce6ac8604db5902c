// A page that grows: waits for the first tokens, asks the server for news, follows the newest token or lets it go.

import type { Page } from './contract';
import { h } from './dom';
import type { DataSource } from './source';

const pollEvery = 600; // milliseconds
const pollEveryUnseen = 5 * pollEvery; // while the page is in the background
const pauseAfterFailure = 2000;

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));

// The page as soon as it has a run; onwait: there is none yet.
export async function firstPage(source: DataSource, onwait: () => void): Promise<Page> {
  for (;;) {
    const page = await source.page();
    if (page.runs.length > 0 || !source.served) return page;
    onwait();
    await pause(pollEvery);
  }
}

export interface GrowingPage {
  now(): Page;
  refresh(page: Page): void;
  say(text: string): void;
}

// Until the trace has ended.
export async function followServer(source: DataSource, growing: GrowingPage): Promise<void> {
  while (growing.now().served && growing.now().live) {
    await pause(document.hidden ? pollEveryUnseen : pollEvery);
    try {
      const newer = await source.newer(growing.now().progress);
      if (newer) growing.refresh(newer);
    } catch {
      growing.say('the server does not answer');
      await pause(pauseAfterFailure);
    }
  }
}

// The button that follows the newest token, or lets it go.
export class LiveBadge {
  readonly element = h('button', {
    type: 'button',
    class: 'button live',
    title: 'Follow the newest token',
    onclick: () => this.toggle(),
  });
  following = true;

  constructor(private onfollow: () => void) {}

  show(live: boolean): void {
    this.element.hidden = !live;
    this.element.textContent = this.following ? '● live' : '○ live';
    this.element.setAttribute('aria-pressed', String(this.following));
  }
  private toggle(): void {
    this.following = !this.following;
    this.show(true);
    if (this.following) this.onfollow();
  }
}
