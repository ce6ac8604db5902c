import './style.css';
import { runOf, type App, type View } from './app';
import type { Tile } from './contract';
import { factTile, fill, h, Segments, select } from './dom';
import { bytes, compact, integer, plural, real } from './format';
import { hasDomains, sameShape, selectionsOf, widest } from './model';
import { SelectionPanel } from './views/selection';
import { openSource } from './source';
import { Store, type State, type ViewName } from './state';
import { mountTooltip } from './tooltip';
import { ExpertsView } from './views/experts';
import { CacheView } from './views/cache';
import { CompareView } from './views/compare';
import { DomainsView } from './views/domains';
import { HottestView } from './views/hottest';
import { MemoryView } from './views/memory';
import { PairsView } from './views/pairs';
import { TokensView } from './views/tokens';

const root = document.getElementById('app')!;

function initialTheme(): State['theme'] {
  let kept: string | null = null;
  try {
    kept = localStorage.getItem('moescope-theme');
  } catch {
    /* storage may be forbidden */
  }
  return kept === 'dark' || kept === 'light'
    ? kept
    : matchMedia('(prefers-color-scheme: dark)').matches
      ? 'dark'
      : 'light';
}

class Shell {
  private views: View[] = [];
  private current: View | null = null;
  private stage = h('div', { class: 'stage' });
  private live = h('div', { class: 'sr-only', 'aria-live': 'polite' });
  private tabs: Segments<ViewName>;
  private runPicker = h('span', { class: 'run-picker' });
  private notes = h('div', null);
  private liveBadge = h('button', {
    type: 'button',
    class: 'button live',
    title: 'Follow the newest token',
    onclick: () => this.follow(!this.following),
  });
  private following = true;
  private facts = h('div', { class: 'fact-tiles' });
  private heading = h('div', { class: 'heading' });
  private help = this.makeHelp();
  private panel: SelectionPanel;
  private tiles = new Map<number, Tile>();
  readonly app: App;

  constructor(page: App['page'], source: App['source'], store: Store) {
    this.app = {
      page,
      store,
      source,
      say: (text) => {
        this.live.textContent = text;
      },
      go: (view) => store.set({ view }),
      tile: () => this.tiles.get(store.now.run) ?? runOf(this.app).tile,
      setTile: (tile) => {
        if (tile) this.tiles.set(store.now.run, tile);
        else this.tiles.delete(store.now.run);
      },
    };
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
    addEventListener('keydown', (e) => this.key(e));
  }
  private makeViews(): void {
    const { page, store } = this.app;
    const several = sameShape(page.runs);
    this.views = [
      new ExpertsView(this.app),
      ...(page.memory ? [new MemoryView(this.app, page.memory)] : []),
      new TokensView(this.app),
      new PairsView(this.app),
      ...(hasDomains(page.runs) ? [new DomainsView(this.app)] : []),
      new CacheView(this.app),
      new HottestView(this.app),
      ...(several ? [new CompareView(this.app)] : []),
    ];
    this.current = null;
    this.tabs.rebuild(this.views.map((v, i) => ({ value: v.name, label: v.title, title: `Key ${i + 1}` })));
    fill(
      this.runPicker,
      page.runs.length < 2
        ? null
        : select(
            'Run',
            page.runs.map((r, i) => ({ value: i, label: r.label })),
            (run) => store.set({ run, token: null, ...(sameShape(page.runs) ? {} : { block: 0, expert: null }) }),
          ),
    );
    fill(
      this.notes,
      page.notes.length === 0
        ? null
        : h(
            'details',
            { class: 'notes' },
            h('summary', null, plural(page.notes.length, 'note')),
            h('ul', null, ...page.notes.map((n) => h('li', null, n))),
          ),
    );
    this.notes.hidden = page.notes.length === 0;
  }

  // New data of a trace that grows.
  refresh(page: App['page']): void {
    const before = this.app.page;
    const reshaped =
      before.runs.length !== page.runs.length ||
      before.notes.length !== page.notes.length ||
      (before.memory === null) !== (page.memory === null) ||
      page.runs.some((r, i) => r.blocks.length !== before.runs[i]!.blocks.length);
    this.app.page = page;
    if (this.following) this.app.setTile(null);
    if (reshaped) this.makeViews();
    const run = runOf(this.app);
    const { store } = this.app;
    this.changed(new Set(['run']));
    if (this.following && page.live && run.tile.n > 0 && !store.now.playing)
      store.set({ token: run.tile.first + run.tile.n - 1 });
    this.showLive();
  }
  private follow(on: boolean): void {
    this.following = on;
    this.showLive();
    if (on) this.refresh(this.app.page);
  }
  private showLive(): void {
    this.liveBadge.hidden = !this.app.page.live;
    this.liveBadge.textContent = this.following ? '● live' : '○ live';
    this.liveBadge.setAttribute('aria-pressed', String(this.following));
  }

  say(text: string): void {
    this.app.say(text);
  }
  view(name: ViewName): View | undefined {
    return this.views.find((v) => v.name === name);
  }

  private build(): void {
    const { page } = this.app;
    const theme = h(
      'button',
      {
        type: 'button',
        class: 'button icon',
        'aria-label': 'Dark or light',
        title: 'Dark or light (t)',
        onclick: () => this.toggleTheme(),
      },
      '◐',
    );
    const help = h(
      'button',
      {
        type: 'button',
        class: 'button icon',
        'aria-label': 'Keys',
        title: 'Keys (?)',
        onclick: () => this.help.showModal(),
      },
      '?',
    );
    mountTooltip();
    fill(
      root,
      h(
        'header',
        null,
        h('div', { class: 'brand' }, this.logo(), 'moescope'),
        this.heading,
        this.liveBadge,
        this.runPicker,
        theme,
        help,
      ),
      this.notes,
      this.facts,
      this.tabs.element,
      h('main', null, this.stage, this.panel.element),
      h('footer', null, page.generator, page.served ? ' · served from this machine' : ' · one file, no network'),
      this.live,
      this.help,
    );
    this.showLive();
  }

  private logo(): Element {
    const on = [1, 4, 6, 11, 12, 15];
    return h(
      'svg',
      { viewBox: '0 0 16 16', class: 'logo', 'aria-hidden': 'true' },
      ...Array.from({ length: 16 }, (_, i) =>
        h('rect', {
          x: (i % 4) * 4 + 0.4,
          y: Math.floor(i / 4) * 4 + 0.4,
          width: 3.2,
          height: 3.2,
          rx: 0.7,
          class: on.includes(i) ? 'on' : '',
        }),
      ),
    );
  }

  private makeHelp(): HTMLDialogElement {
    const keys: [string, string][] = [
      ['1 … 8', 'the views'],
      ['← ↑ → ↓', 'move through cells or tokens; with Shift ten at a time'],
      ['Enter', 'from a cell to its tokens'],
      ['[ ]', 'previous, next layer'],
      ['m', 'next metric'],
      ['r', 'absolute, against balance'],
      ['s', 'order of experts'],
      ['Space', 'play through the generated tokens'],
      ['+ − 0', 'zoom; with the wheel: hold Ctrl or ⌘'],
      ['t', 'dark or light'],
      ['Esc', 'nothing selected'],
      ['?', 'this list'],
    ];
    const d = h(
      'dialog',
      { class: 'help', 'aria-label': 'Keys' },
      h('h2', null, 'Keys'),
      h('dl', { class: 'facts' }, ...keys.flatMap(([k, v]) => [h('dt', null, h('kbd', null, k)), h('dd', null, v)])),
      h('form', { method: 'dialog' }, h('button', { class: 'button' }, 'Close')),
    );
    d.addEventListener('click', (e) => {
      if (e.target === d) d.close();
    });
    return d;
  }

  private changed(changed: ReadonlySet<keyof State>): void {
    const { view, theme, run } = this.app.store.now;
    if (changed.has('theme')) document.documentElement.dataset['theme'] = theme;
    if (changed.has('run')) this.showFacts();
    this.tabs.set(view);
    if (changed.has('view')) this.tabs.reveal(view);
    const next = this.view(view) ?? this.views[0]!;
    const fresh = next !== this.current;
    if (fresh) {
      fill(this.stage, next.element);
      this.current = next;
    }
    next.update(fresh ? 'all' : changed);
    // The player goes on while another view is looked at.
    if (changed.has('playing') && view !== 'tokens') (this.view('tokens') as TokensView).player.run();
    if (['run', 'block', 'expert', 'phase', 'view'].some((k) => changed.has(k as keyof State))) this.panel.update();
    if (changed.has('view')) history.replaceState(null, '', '#' + view);
    document.title = `${this.app.page.runs[run]!.label} · moescope`;
  }

  private showFacts(): void {
    const run = runOf(this.app);
    const m = run.model;
    const s = run.source;
    const cells = run.blocks.reduce((n, b) => n + b.n_expert, 0);
    const dead = run.blocks.reduce((n, b) => n + b.dead, 0);
    const even = run.blocks.filter((b) => b.entropy !== null).map((b) => b.entropy!);
    fill(
      this.heading,
      h('h1', null, m.name || m.file || run.label),
      h(
        'span',
        { class: 'quiet' },
        [
          m.architecture,
          plural(run.blocks.length, 'MoE layer'),
          `${widest(run)} experts, ${m.n_expert_used || run.blocks[0]!.n_expert_used} per token`,
        ]
          .filter(Boolean)
          .join(' · '),
      ),
    );
    fill(
      this.facts,
      factTile(
        'tokens',
        compact(run.tokens),
        run.decoded > 0
          ? `${compact(run.tokens - run.decoded)} prompt, ${compact(run.decoded)} generated`
          : 'all prompt',
      ),
      factTile(
        'selections',
        compact(run.blocks.reduce((n, b) => n + selectionsOf(run, b, 'all'), 0)),
        `in ${compact(run.ubatches)} ubatches`,
      ),
      factTile(
        'evenness',
        even.length ? real(even.reduce((a, b) => a + b, 0) / even.length) : '–',
        even.length ? `${real(Math.min(...even))} in the least even layer` : 'mean over layers',
      ),
      factTile('never selected', integer(dead), `of ${integer(cells)} experts`),
      factTile(
        'trace',
        s.bytes > 0 ? bytes(s.bytes) : '–',
        [s.program, s.ended ? '' : 'not ended'].filter(Boolean).join(', ') || s.format,
      ),
    );
  }

  private toggleTheme(): void {
    const theme = this.app.store.now.theme === 'dark' ? 'light' : 'dark';
    try {
      localStorage.setItem('moescope-theme', theme);
    } catch {
      /* storage may be forbidden */
    }
    this.app.store.set({ theme });
  }

  private fromHash(): void {
    const name = location.hash.slice(1) as ViewName;
    if (this.view(name)) this.app.store.set({ view: name });
  }

  private key(e: KeyboardEvent): void {
    const target = e.target as HTMLElement;
    if (e.ctrlKey || e.metaKey || e.altKey || target.closest('input, select, dialog')) return;
    const { store } = this.app;
    const now = store.now;
    const run = runOf(this.app);
    const cycle = <T>(list: readonly T[], v: T) => list[(list.indexOf(v) + 1) % list.length]!;
    if (/^[1-8]$/.test(e.key)) {
      const view = this.views[Number(e.key) - 1];
      if (view) store.set({ view: view.name });
    } else if (e.key === 't') this.toggleTheme();
    else if (e.key === '?') this.help.showModal();
    else if (e.key === '[' || e.key === ']')
      store.set({ block: Math.min(run.blocks.length - 1, Math.max(0, now.block + (e.key === ']' ? 1 : -1))) });
    else if (e.key === 'm') this.clickNext('Metric');
    else if (e.key === 'r') store.set({ relative: !now.relative });
    else if (e.key === 's') store.set({ sort: cycle(['id', 'heat', 'similarity'] as const, now.sort) });
    else if (e.key === ' ' && !target.closest('button, summary, tr')) store.set({ playing: !now.playing });
    else if (e.key === 'Escape') store.set({ expert: null, token: null, playing: false });
    else return;
    e.preventDefault();
  }
  private clickNext(group: string): void {
    const buttons = [
      ...this.stage.querySelectorAll<HTMLButtonElement>(`[aria-label="${group}"] button:not([disabled])`),
    ];
    const at = buttons.findIndex((b) => b.getAttribute('aria-pressed') === 'true');
    if (buttons.length > 0) buttons[(at + 1) % buttons.length]!.click();
  }
}

const pollEvery = 600; // milliseconds, of a live page

async function start(): Promise<void> {
  const source = openSource();
  let page = await source.page();
  while (page.runs.length === 0 && source.served) {
    fill(root, h('p', { class: 'empty' }, 'Waiting for the first tokens …'));
    await new Promise((done) => setTimeout(done, pollEvery));
    page = await source.page();
  }
  const store = new Store({
    view: (location.hash.slice(1) || 'experts') as ViewName,
    run: 0,
    block: 0,
    expert: null,
    token: null,
    metric: 'share',
    relative: false,
    sort: 'id',
    phase: 'all',
    theme: initialTheme(),
    playing: false,
  });
  const shell = new Shell(page, source, store);
  if (page.live) shell.refresh(page); // begin at the newest token
  // For tests and for the curious: the page's own state, and its views.
  Object.assign(window, {
    moescope: {
      get page() {
        return shell.app.page;
      },
      store,
      view: (name: ViewName) => shell.view(name),
    },
  });
  while (shell.app.page.served && shell.app.page.live) {
    await new Promise((done) => setTimeout(done, document.hidden ? pollEvery * 5 : pollEvery));
    try {
      const newer = await source.newer(shell.app.page.progress);
      if (newer) shell.refresh(newer);
    } catch {
      shell.say('the server does not answer');
      await new Promise((done) => setTimeout(done, 2000));
    }
  }
}

start().catch((e: unknown) =>
  fill(root, h('p', { class: 'empty' }, 'The page cannot be shown: ' + (e instanceof Error ? e.message : String(e)))),
);
