// The frame around the views: header, tabs, the view in sight, the selection beside it. Tells the views what changed.

import { runOf, type App, type View } from './app';
import type { Page, Tile } from './contract';
import { fill, h, Segments, select } from './dom';
import { plural } from './format';
import { findingsOf, type Finding } from './findings';
import { helpDialog, licencesDialog } from './help';
import { pressKey, type KeyTarget } from './keys';
import { LiveBadge, type GrowingPage } from './live';
import { hasDomains, isProfile, sameShape } from './model';
import { fromHash, toHash } from './permalink';
import type { DataSource } from './source';
import type { State, Store, ViewName } from './state';
import { keepTheme } from './theme';
import { mountTooltip } from './tooltip';
import { ViewActions } from './view_actions';
import { CacheView } from './views/cache';
import { CompareView } from './views/compare';
import { DamageView } from './views/damage';
import { DomainsView } from './views/domains';
import { ExpertsView } from './views/experts';
import { ForesightView } from './views/foresight';
import { HottestView } from './views/hottest';
import { MemoryView } from './views/memory';
import { PairsView } from './views/pairs';
import { factsOf, headingOf, incompleteness } from './views/run_facts';
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

const addressEvery = 250; // milliseconds

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
  private help = helpDialog();
  private licences = licencesDialog();
  private findings = h('div', { class: 'findings', hidden: true });
  private actions: ViewActions;
  private addressWritten = 0; // when
  private addressTimer = 0;
  private panel: SelectionPanel;

  constructor(
    private root: Element,
    page: Page,
    source: DataSource,
    store: Store,
  ) {
    this.app = this.makeApp(page, source, store);
    this.panel = new SelectionPanel(this.app);
    this.actions = new ViewActions(this.app, () => this.current!);
    this.tabs = new Segments<ViewName>('View', [], (view) => store.set({ view }));
    this.tabs.element.classList.add('tabs');
    this.build();
    this.makeViews();
    store.set(fromHash(location.hash, page, this.viewNames(), store.now));
    store.on((changed) => this.changed(changed));
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
    this.help.showModal();
  }
  copyLink(): void {
    void this.actions.copy();
  }
  findText(): void {
    this.app.go('tokens');
    this.stage.querySelector<HTMLInputElement>('.finder input')?.focus();
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
      go: (view) => {
        if (this.view(view)) store.set({ view });
      },
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
    const help = iconButton('?', 'Words and keys', 'Words and keys (?)', () => this.showHelp());
    const licences = h(
      'button',
      { type: 'button', class: 'plain', onclick: () => this.licences.showModal() },
      'Licences',
    );
    const where = page.served ? ' · served from this machine · ' : ' · one file, no network · ';
    fill(
      this.root,
      h('header', null, brand, this.heading, this.badge.element, this.runPicker, theme, help),
      this.notes,
      this.findings,
      this.facts,
      h('div', { class: 'tab-row' }, this.tabs.element, this.actions.element),
      h('main', null, this.stage, this.panel.element),
      h('footer', null, page.generator, where, licences),
      this.spoken,
      this.help,
      this.licences,
    );
    this.badge.show(page.live);
  }

  private makeViews(): void {
    const { app } = this;
    const { memory, damage, runs } = app.page;
    const rows = !runs.every(isProfile); // a profile holds no rows
    this.views = [
      new ExpertsView(app),
      ...(memory ? [new MemoryView(app, memory)] : []),
      ...(rows ? [new TokensView(app)] : []),
      new PairsView(app),
      ...(hasDomains(runs) ? [new DomainsView(app)] : []),
      ...(rows ? [new CacheView(app), new ForesightView(app)] : []),
      new HottestView(app),
      ...(damage ? [new DamageView(app, damage)] : []),
      ...(sameShape(runs) ? [new CompareView(app)] : []),
    ];
    this.current = null;
    this.tabs.rebuild(
      this.views.map((v, i) => ({ value: v.name, label: v.title, title: i < 10 ? `Key ${(i + 1) % 10}` : undefined })),
    );
    this.offerRuns();
    this.writeNotes();
  }
  // A run of another shape begins with its first layer.
  private offerRuns(): void {
    const { page, store } = this.app;
    const options = page.runs.map((r, i) => ({
      value: i,
      label: r.label + (incompleteness(r, page.live) ? ' (incomplete)' : ''),
    }));
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
      fill(this.heading, ...headingOf(run, this.app.page.live));
      fill(this.facts, ...factsOf(run));
      this.writeFindings();
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
    this.writeAddress();
    document.title = `${run.label} · moescope`;
  }

  // The player goes on while another view is in sight.
  private runPlayer(): void {
    this.views.find((v) => v instanceof TokensView)?.player.run();
  }
  private fromHash(): void {
    const { page, store } = this.app;
    store.set(fromHash(location.hash, page, this.viewNames(), store.now));
  }
  // The address says what is in sight, at most four times a second: browsers refuse more.
  private writeAddress(): void {
    const { store, page } = this.app;
    clearTimeout(this.addressTimer);
    const wait = this.addressWritten + addressEvery - performance.now();
    const write = () => {
      this.addressWritten = performance.now();
      const hash = toHash(store.now, page);
      if (location.hash !== hash) history.replaceState(null, '', hash);
    };
    if (wait <= 0) write();
    else this.addressTimer = window.setTimeout(write, wait);
  }

  // What stands out, first.
  private writeFindings(): void {
    const found = findingsOf(runOf(this.app));
    const { store } = this.app;
    const item = ({ text, seen }: Finding) => {
      const options = { ...store.now.options, ...seen.options };
      const go = () => store.set({ ...seen, options });
      return h('li', null, h('button', { type: 'button', class: 'finding', title: 'Show it', onclick: go }, text));
    };
    fill(this.findings, h('h2', null, 'Stands out'), h('ul', null, ...found.map(item)));
    this.findings.hidden = found.length === 0;
  }
}
