// The frame around the views: header, tabs, the view in sight, the selection beside it. Tells the views what changed.

import { runOf, type App, type View } from './app';
import type { Page, Tile } from './contract';
import { fill, h, Segments, select } from './dom';
import { plural } from './format';
import { keysDialog, pressKey, type KeyTarget } from './keys';
import { LiveBadge, type GrowingPage } from './live';
import { hasDomains, sameShape } from './model';
import type { DataSource } from './source';
import type { State, Store, ViewName } from './state';
import { keepTheme } from './theme';
import { mountTooltip } from './tooltip';
import { CacheView } from './views/cache';
import { CompareView } from './views/compare';
import { DamageView } from './views/damage';
import { DomainsView } from './views/domains';
import { ExpertsView } from './views/experts';
import { ForesightView } from './views/foresight';
import { HottestView } from './views/hottest';
import { MemoryView } from './views/memory';
import { PairsView } from './views/pairs';
import { factsOf, headingOf } from './views/run_facts';
import { SelectionPanel } from './views/selection';
import { TokensView } from './views/tokens';

function logo(): Element {
  const on = [1, 4, 6, 11, 12, 15];
  const square = (i: number) =>
    h('rect', {
      x: (i % 4) * 4 + 0.4,
      y: Math.floor(i / 4) * 4 + 0.4,
      width: 3.2,
      height: 3.2,
      rx: 0.7,
      class: on.includes(i) ? 'on' : '',
    });
  return h(
    'svg',
    { viewBox: '0 0 16 16', class: 'logo', 'aria-hidden': 'true' },
    ...Array.from({ length: 16 }, (_, i) => square(i)),
  );
}

function iconButton(sign: string, name: string, title: string, onclick: () => void): HTMLElement {
  return h('button', { type: 'button', class: 'button icon', 'aria-label': name, title, onclick }, sign);
}

// Whether other views are needed than for the page before.
function reshaped(before: Page, page: Page): boolean {
  return (
    before.runs.length !== page.runs.length ||
    before.notes.length !== page.notes.length ||
    (before.memory === null) !== (page.memory === null) ||
    page.runs.some((r, i) => r.blocks.length !== before.runs[i]!.blocks.length)
  );
}

export class Shell implements KeyTarget, GrowingPage {
  readonly app: App;
  private views: View[] = [];
  private current: View | null = null;
  private stage = h('div', { class: 'stage' });
  private spoken = h('div', { class: 'sr-only', 'aria-live': 'polite' });
  private tabs: Segments<ViewName>;
  private runPicker = h('span', { class: 'run-picker' });
  private notes = h('div', null);
  private badge = new LiveBadge(() => this.refresh(this.now()));
  private facts = h('div', { class: 'fact-tiles' });
  private heading = h('div', { class: 'heading' });
  private keys = keysDialog();
  private panel: SelectionPanel;

  constructor(
    private root: Element,
    page: Page,
    source: DataSource,
    store: Store,
  ) {
    this.app = this.makeApp(page, source, store);
    this.panel = new SelectionPanel(this.app);
    this.tabs = new Segments<ViewName>('View', [], (view) => store.set({ view }));
    this.tabs.element.classList.add('tabs');
    store.on((changed) => this.changed(changed));
    this.build();
    this.makeViews();
    if (!this.view(store.now.view)) store.set({ view: 'experts' });
    this.changed(new Set(['run', 'view', 'theme']));
    new ResizeObserver(() => this.current?.resize?.()).observe(this.stage);
    addEventListener('hashchange', () => this.fromHash());
    addEventListener('keydown', (e) => pressKey(e, this));
  }

  now(): Page {
    return this.app.page;
  }
  // New data of a trace that grows.
  refresh(page: Page): void {
    const before = this.app.page;
    const { following } = this.badge;
    this.app.page = page;
    if (following) this.app.setTile(null);
    if (reshaped(before, page)) this.makeViews();
    const { tile } = runOf(this.app);
    const { store } = this.app;
    this.changed(new Set(['run']));
    if (following && page.live && tile.n > 0 && !store.now.playing) store.set({ token: tile.first + tile.n - 1 });
    this.badge.show(page.live);
  }
  say(text: string): void {
    this.app.say(text);
  }

  view(name: ViewName): View | undefined {
    return this.views.find((v) => v.name === name);
  }
  viewNames(): ViewName[] {
    return this.views.map((v) => v.name);
  }
  toggleTheme(): void {
    const theme = this.app.store.now.theme === 'dark' ? 'light' : 'dark';
    keepTheme(theme);
    this.app.store.set({ theme });
  }
  showHelp(): void {
    this.keys.showModal();
  }
  // Presses the button after the one that is pressed, in the view that has metrics.
  nextMetric(): void {
    const buttons = [...this.stage.querySelectorAll<HTMLButtonElement>('[aria-label="Metric"] button:not([disabled])')];
    const at = buttons.findIndex((b) => b.getAttribute('aria-pressed') === 'true');
    if (buttons.length > 0) buttons[(at + 1) % buttons.length]!.click();
  }

  private makeApp(page: Page, source: DataSource, store: Store): App {
    const tiles = new Map<number, Tile>(); // by run, where it is not the one that came with the run
    const app: App = {
      page,
      store,
      source,
      say: (text) => {
        this.spoken.textContent = text;
      },
      go: (view) => store.set({ view }),
      tile: () => tiles.get(store.now.run) ?? runOf(app).tile,
      setTile: (tile) => {
        if (tile) tiles.set(store.now.run, tile);
        else tiles.delete(store.now.run);
      },
    };
    return app;
  }

  private build(): void {
    const { page } = this.app;
    mountTooltip();
    const brand = h('div', { class: 'brand' }, logo(), 'moescope');
    const theme = iconButton('◐', 'Dark or light', 'Switch between dark and light (t)', () => this.toggleTheme());
    const keys = iconButton('?', 'Keys', 'Keys (?)', () => this.showHelp());
    fill(
      this.root,
      h('header', null, brand, this.heading, this.badge.element, this.runPicker, theme, keys),
      this.notes,
      this.facts,
      this.tabs.element,
      h('main', null, this.stage, this.panel.element),
      h('footer', null, page.generator, page.served ? ' · served from this machine' : ' · one file, no network'),
      this.spoken,
      this.keys,
    );
    this.badge.show(page.live);
  }

  private makeViews(): void {
    const { app } = this;
    const { memory, damage, runs } = app.page;
    this.views = [
      new ExpertsView(app),
      ...(memory ? [new MemoryView(app, memory)] : []),
      new TokensView(app),
      new PairsView(app),
      ...(hasDomains(runs) ? [new DomainsView(app)] : []),
      new CacheView(app),
      new ForesightView(app),
      new HottestView(app),
      ...(damage ? [new DamageView(app, damage)] : []),
      ...(sameShape(runs) ? [new CompareView(app)] : []),
    ];
    this.current = null;
    this.tabs.rebuild(this.views.map((v, i) => ({ value: v.name, label: v.title, title: `Key ${i + 1}` })));
    this.offerRuns();
    this.writeNotes();
  }
  // A run of another shape begins with its first layer.
  private offerRuns(): void {
    const { page, store } = this.app;
    const options = page.runs.map((r, i) => ({ value: i, label: r.label }));
    const choose = (run: number) =>
      store.set({ run, token: null, ...(sameShape(page.runs) ? {} : { block: 0, expert: null }) });
    fill(this.runPicker, page.runs.length < 2 ? null : select('Run', options, choose));
  }
  private writeNotes(): void {
    const { notes } = this.app.page;
    const title = h('summary', null, plural(notes.length, 'note'));
    const list = h('ul', null, ...notes.map((n) => h('li', null, n)));
    fill(this.notes, notes.length === 0 ? null : h('details', { class: 'notes' }, title, list));
    this.notes.hidden = notes.length === 0;
  }

  private changed(changed: ReadonlySet<keyof State>): void {
    const { view, theme } = this.app.store.now;
    const run = runOf(this.app);
    if (changed.has('theme')) document.documentElement.dataset['theme'] = theme;
    if (changed.has('run')) {
      fill(this.heading, ...headingOf(run));
      fill(this.facts, ...factsOf(run));
    }
    this.tabs.set(view);
    if (changed.has('view')) this.tabs.reveal(view);
    const next = this.view(view) ?? this.views[0]!;
    const fresh = next !== this.current;
    if (fresh) {
      fill(this.stage, next.element);
      this.current = next;
    }
    next.update(fresh ? 'all' : changed);
    if (changed.has('playing') && view !== 'tokens') this.runPlayer();
    if ((['run', 'block', 'expert', 'phase', 'view'] as const).some((k) => changed.has(k))) this.panel.update();
    if (changed.has('view')) history.replaceState(null, '', '#' + view);
    document.title = `${run.label} · moescope`;
  }

  // The player goes on while another view is in sight.
  private runPlayer(): void {
    this.views.find((v) => v instanceof TokensView)?.player.run();
  }
  private fromHash(): void {
    const name = location.hash.slice(1) as ViewName;
    if (this.view(name)) this.app.store.set({ view: name });
  }
}
