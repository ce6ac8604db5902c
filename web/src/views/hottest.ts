// Hottest: every expert as a row of a table, sortable, with a filter, as CSV.

import { percents, ratios, reals } from '../aligned';
import { runOf, type App, type Table, type View } from '../app';
import { fill, h } from '../dom';
import { bytes, integer, plural } from '../format';
import { sliceBytes } from '../memory_map';
import { availableMetrics, metrics, valueOf, valuesOf } from '../model';
import type { Metric } from '../state';

interface Column {
  key: string;
  name: string;
  title: string;
  get: (r: Row) => number;
  text: (r: Row) => string;
}
interface Row {
  block: number;
  layer: number;
  expert: number;
  values: Record<string, number>;
}

const pageSize = 200;

export class HottestView implements View {
  readonly name = 'hottest';
  readonly title = 'Hottest';
  readonly element: HTMLElement;
  private head = h('tr', null);
  private body = h('tbody', null);
  private status = h('span', { class: 'quiet', role: 'status' });
  private filter = h('input', {
    type: 'search',
    placeholder: 'layer 3, expert 17, cold, dead …',
    'aria-label': 'Filter',
    oninput: () => {
      this.shown = pageSize;
      this.app.store.choose('hottest', 'filter', this.filter.value || null);
    },
  });
  private more = h('button', {
    type: 'button',
    class: 'more',
    onclick: () => {
      this.shown += pageSize;
      this.draw();
    },
  });
  private columns: Column[] = [];
  private rows: Row[] = [];
  private shown = pageSize;

  constructor(private app: App) {
    const table = h('table', { class: 'hottest' }, h('thead', null, this.head), this.body);
    this.element = h(
      'section',
      { class: 'card' },
      h('div', { class: 'toolbar' }, this.filter, this.status),
      h('div', { class: 'scroll-x' }, table),
      this.more,
    );
  }

  update(changed: ReadonlySet<string> | 'all'): void {
    const anew = changed === 'all' || changed.has('run') || changed.has('phase');
    if (anew) this.collect();
    if (anew || changed.has('options')) this.draw();
    this.mark();
  }

  // "-share": by falling share.
  private get sortKey(): string {
    return (this.app.store.option('hottest', 'sort') ?? '-share').replace(/^-/, '');
  }
  private get descending(): boolean {
    return (this.app.store.option('hottest', 'sort') ?? '-share').startsWith('-');
  }

  private collect(): void {
    const run = runOf(this.app);
    const phase = this.app.store.now.phase;
    const column = (key: string, name: string, title: string, text: (v: number) => string): Column => ({
      key,
      name,
      title,
      get: (r) => r.values[key]!,
      text: (r) => text(r.values[key]!),
    });
    const all = (m: Metric) => run.blocks.flatMap((b) => Array.from(valuesOf(run, b, m, phase, false)));
    const texts: Record<Metric, () => (v: number) => string> = {
      count: () => integer,
      share: () => percents(all('share')),
      weight_mean: () => reals(all('weight_mean')),
      reap: () => reals(all('reap')),
      ean: () => reals(all('ean')),
      accesses: () => integer,
    };
    const sizes = sliceBytes(this.app.page.memory, run);
    this.columns = [
      { key: 'layer', name: 'Layer', title: 'layer', get: (r) => r.block, text: (r) => String(r.layer) },
      { key: 'expert', name: 'Expert', title: 'expert id', get: (r) => r.expert, text: (r) => String(r.expert) },
      ...availableMetrics(run).map((m) => column(m, metrics[m].name, metrics[m].what, texts[m]())),
      column('balance', 'Vs. balance', 'share divided by the balanced share', ratios),
      ...(sizes ? [column('bytes', 'Bytes', 'size of the expert’s matrices', bytes)] : []),
    ];
    this.rows = run.blocks.flatMap((b, block) =>
      Array.from({ length: b.n_expert }, (_, expert) => {
        const values: Record<string, number> = {};
        for (const m of availableMetrics(run)) values[m] = valueOf(run, b, expert, m, phase);
        values['balance'] = values['share']! * b.n_expert;
        if (sizes) values['bytes'] = sizes[b.first_cell + expert]!;
        return { block, layer: b.layer, expert, values };
      }),
    );
  }

  // What the filter leaves, in order: the rows that the table and the CSV have.
  visibleRows(): Row[] {
    const text = this.filter.value.toLowerCase();
    const layer = /\b(?:layer|l)\s*(\d+)/.exec(text)?.[1];
    const expert = /\b(?:expert|e)\s*(\d+)/.exec(text)?.[1];
    const dead = text.includes('dead');
    const cold = text.includes('cold');
    const hot = /\bhot\b/.test(text);
    const kept = this.rows.filter(
      (r) =>
        (layer === undefined || r.layer === Number(layer)) &&
        (expert === undefined || r.expert === Number(expert)) &&
        (!dead || r.values['count'] === 0) &&
        (!cold || r.values['balance']! < 0.5) &&
        (!hot || r.values['balance']! > 2),
    );
    const by = this.columns.find((c) => c.key === this.sortKey) ?? this.columns[0]!;
    const sign = this.descending ? -1 : 1;
    const at = (r: Row) => {
      const v = by.get(r);
      return Number.isNaN(v) ? -Infinity : v;
    };
    return kept.sort((a, b) => sign * (at(a) - at(b)) || a.block - b.block || a.expert - b.expert);
  }

  private mark(): void {
    const { block, expert } = this.app.store.now;
    for (const tr of this.body.rows)
      tr.setAttribute('aria-selected', String(tr.dataset['cell'] === `${block}:${expert}`));
  }

  private draw(): void {
    const filter = this.app.store.option('hottest', 'filter') ?? '';
    if (this.filter.value !== filter) this.filter.value = filter;
    fill(
      this.head,
      ...this.columns.map((c) =>
        h(
          'th',
          {
            'aria-sort': c.key === this.sortKey ? (this.descending ? 'descending' : 'ascending') : 'none',
            title: c.title,
          },
          h('button', { type: 'button', onclick: () => this.sortBy(c.key) }, c.name),
        ),
      ),
    );
    const rows = this.visibleRows();
    const most = rows.reduce((m, r) => Math.max(m, r.values['share'] || 0), 0);
    fill(
      this.body,
      ...rows.slice(0, this.shown).map((r) => {
        const tr = h(
          'tr',
          {
            tabindex: 0,
            'data-cell': `${r.block}:${r.expert}`,
            onclick: () => this.app.store.set({ block: r.block, expert: r.expert }),
            onkeydown: (e: KeyboardEvent) => this.key(e, r),
          },
          ...this.columns.map((c) => h('td', { 'data-column': c.key }, c.text(r))),
        );
        tr.style.setProperty('--bar', most > 0 ? String((r.values['share'] || 0) / most) : '0');
        return tr;
      }),
    );
    this.mark();
    this.status.textContent =
      plural(rows.length, 'expert') + (rows.length < this.rows.length ? ` of ${integer(this.rows.length)}` : '');
    this.more.hidden = rows.length <= this.shown;
    this.more.textContent = `Show more (${integer(rows.length - this.shown)} left)`;
  }

  private key(e: KeyboardEvent, r: Row): void {
    const row = e.currentTarget as HTMLElement;
    if (e.key === 'Enter' || e.key === ' ') this.app.store.set({ block: r.block, expert: r.expert });
    else if (e.key === 'ArrowDown') (row.nextElementSibling as HTMLElement | null)?.focus();
    else if (e.key === 'ArrowUp') (row.previousElementSibling as HTMLElement | null)?.focus();
    else return;
    e.preventDefault();
  }
  private sortBy(key: string): void {
    const descending = this.sortKey === key ? !this.descending : key !== 'layer' && key !== 'expert';
    this.app.store.choose('hottest', 'sort', (descending ? '-' : '') + key);
  }
  table(): Table {
    return {
      columns: this.columns.map((c) => (c.key === 'balance' ? 'against_balance' : c.key)),
      rows: this.visibleRows().map((r) => this.columns.map((c) => (c.key === 'layer' ? r.layer : c.get(r)))),
    };
  }
}
