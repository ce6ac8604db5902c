// Simulated caches of the run in view, and what can be foreseen in it: inside a report, or asked for from the server, which
// simulates when somebody looks.

import { runOf, type App } from './app';
import type { Cache } from './contract';

export class CachesAtHand {
  private asked = new Set<number>(); // runs whose caches are being simulated
  private held = new Map<number, Cache>(); // of a served page, by run

  // changed: something new is at hand, or is being waited for.
  constructor(
    private app: App,
    private changed: () => void,
  ) {}

  get now(): Cache | null {
    const run = runOf(this.app);
    return run.cache ?? this.held.get(run.number) ?? null;
  }
  get waiting(): boolean {
    return this.asked.has(runOf(this.app).number);
  }

  // again: also where there are some, of fewer tokens.
  async load(again: boolean): Promise<void> {
    const run = runOf(this.app);
    const { source } = this.app;
    if (!source.served || run.source.counts_only || this.waiting) return;
    const c = this.now;
    const nothingYet = c !== null && c.slots.length === 0 && c.too_many === 0 && c.of_tokens < run.tokens;
    if (c !== null && !again && !nothingYet) return;
    this.asked.add(run.number);
    this.changed();
    try {
      for (;;) {
        const found = await source.caches(run.number, run.tokens);
        if (found) {
          this.held.set(run.number, found);
          break;
        }
        await new Promise((done) => setTimeout(done, 300));
      }
    } catch (e) {
      this.app.say(e instanceof Error ? e.message : String(e));
    }
    this.asked.delete(run.number);
    this.changed();
  }
}
