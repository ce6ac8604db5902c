// The panel beside every view: what is selected, and where it stands among its peers.

import { runOf, type App } from '../app';
import { fill, h } from '../dom';
import { bytes, integer, percent, quoted, real, times } from '../format';
import { sliceIndex } from '../memory_map';
import {
  availableMetrics,
  chanceOf,
  countOf,
  metrics,
  pairCount,
  rowsOf,
  TileReader,
  valueOf,
  valuesOf,
} from '../model';
import { layerPicker } from './controls';

export class SelectionPanel {
  readonly element = h('aside', { class: 'card selection', 'aria-label': 'Selection' });

  constructor(private app: App) {}

  update(): void {
    const run = runOf(this.app);
    const { block, expert } = this.app.store.now;
    const b = run.blocks[block]!;
    fill(
      this.element,
      h('h2', null, 'Selection'),
      layerPicker(this.app),
      ...(expert === null || expert >= b.n_expert ? this.layer() : this.expert(expert)),
    );
  }

  private facts(rows: [string, string][]): HTMLElement {
    return h('dl', { class: 'facts' }, ...rows.flatMap(([k, v]) => [h('dt', null, k), h('dd', null, v)]));
  }

  private layer(): HTMLElement[] {
    const b = runOf(this.app).blocks[this.app.store.now.block]!;
    return [
      this.profile(null),
      this.facts([
        ['experts', `${b.n_expert}, ${b.n_expert_used} per row`],
        ['rows', integer(b.rows)],
        ['evenness', (b.entropy ?? NaN).toFixed(3)],
        ['… by chance', chanceOf(b).entropy.toFixed(3)],
        ['Gini', real(b.gini)],
        ['MaxVio', real(b.max_vio)],
        ['never selected', integer(b.dead)],
        ['… by chance', chanceOf(b).dead.toFixed(1)],
        ['half of all selections', `${b.coverage[0]} experts`],
        ['90 %', `${b.coverage[2]} experts`],
      ]),
    ];
  }

  private expert(expert: number): HTMLElement[] {
    const run = runOf(this.app);
    const { block, phase } = this.app.store.now;
    const b = run.blocks[block]!;
    const cell = b.first_cell + expert;
    const shares = valuesOf(run, b, 'share', phase, false);
    const rank = shares.reduce((n, v) => n + (v > shares[expert]! ? 1 : 0), 1);
    const rows: [string, string][] = [
      ['selections', integer(countOf(run, cell, phase))],
      ['share', percent(shares[expert])],
      ['against balance', times(shares[expert]! * b.n_expert)],
      ['rank in the layer', `${rank} of ${b.n_expert}`],
      ['rows', integer(rowsOf(run, b, phase))],
    ];
    for (const m of availableMetrics(run)) {
      if (m !== 'count' && m !== 'share')
        rows.push([
          metrics[m].name,
          m === 'accesses' ? integer(valueOf(run, b, expert, m, phase)) : real(valueOf(run, b, expert, m, phase)),
        ]);
    }
    const memory = this.app.page.memory;
    if (memory) {
      const slices = sliceIndex(memory, run).slicesOf(cell);
      if (slices.length > 0)
        rows.push([
          'in memory',
          `${bytes(slices.reduce((s, i) => s + memory.size[i]!, 0))} in ${slices.length} slices`,
        ]);
    }
    return [
      h('h3', null, `Expert ${expert}`),
      this.profile(expert),
      this.facts(rows),
      ...this.tokens(expert),
      ...this.partners(expert),
    ];
  }

  // The layer's experts from hottest to coldest, the selected one marked.
  private profile(expert: number | null): HTMLElement {
    const run = runOf(this.app);
    const { block, phase } = this.app.store.now;
    const b = run.blocks[block]!;
    const shares = valuesOf(run, b, 'share', phase, false);
    const order = [...shares.keys()].sort((x, y) => shares[y]! - shares[x]!);
    const most = shares[order[0]!] || 1;
    const width = 240;
    const height = 56;
    const step = width / order.length;
    const bar = (e: number, i: number) =>
      h('rect', {
        x: (i * step).toFixed(2),
        width: Math.max(0.5, step - (step > 4 ? 1 : 0)).toFixed(2),
        y: (height - (height * (shares[e]! || 0)) / most).toFixed(2),
        height: ((height * (shares[e]! || 0)) / most).toFixed(2),
        class: e === expert ? 'on' : '',
      });
    const balanced = height - height / (b.n_expert * most);
    return h(
      'figure',
      null,
      h(
        'svg',
        {
          viewBox: `0 0 ${width} ${height}`,
          class: 'profile',
          preserveAspectRatio: 'none',
          role: 'img',
          'aria-label': 'Shares of the layer’s experts, largest first',
        },
        ...order.map(bar),
        h('line', { x1: 0, x2: width, y1: balanced.toFixed(2), y2: balanced.toFixed(2) }),
      ) as unknown as HTMLElement,
      h('figcaption', null, 'shares, largest first; the line marks balance'),
    );
  }

  // The tokens at hand that this expert takes most often, against how often they occur.
  private tokens(expert: number): HTMLElement[] {
    const run = runOf(this.app);
    const { block } = this.app.store.now;
    const tile = this.app.tile();
    const reader = new TileReader(tile, run);
    const seen = new Map<number, { at: number; n: number; taken: number }>();
    for (let i = 0; i < tile.n; i++) {
      const entry = seen.get(tile.token[i]!) ?? { at: i, n: 0, taken: 0 };
      entry.n++;
      if (reader.weightOf(i, block, expert) !== null) entry.taken++;
      seen.set(tile.token[i]!, entry);
    }
    const top = [...seen.values()]
      .filter((t) => t.taken > 0)
      .sort((a, c) => c.taken * (c.taken / c.n) - a.taken * (a.taken / a.n))
      .slice(0, 12);
    if (top.length === 0) return [];
    return [
      h('h4', null, tile.n < run.tokens ? `Its tokens (of the ${integer(tile.n)} loaded)` : 'Its tokens'),
      h(
        'div',
        { class: 'chips' },
        ...top.map((t) =>
          h(
            'button',
            {
              type: 'button',
              class: 'chip',
              title: `${t.taken} of ${t.n} occurrences`,
              onclick: () => this.app.store.set({ token: tile.first + t.at, view: 'tokens' }),
            },
            h('bdi', null, quoted(reader.textAt(t.at)).slice(1, -1)),
            h('span', null, `${t.taken}/${t.n}`),
          ),
        ),
      ),
    ];
  }

  private partners(expert: number): HTMLElement[] {
    const run = runOf(this.app);
    const { block } = this.app.store.now;
    const b = run.blocks[block]!;
    const triangle = run.pairs.count[block];
    const mine = run.cells.count[b.first_cell + expert]!;
    if (!triangle || mine === 0) return [];
    const top = Array.from({ length: b.n_expert }, (_, e) => e)
      .filter((e) => e !== expert)
      .map((e) => ({ e, p: pairCount(triangle, b.n_expert, e, expert) / mine }))
      .sort((x, y) => y.p - x.p)
      .slice(0, 6)
      .filter((x) => x.p > 0);
    return [
      h('h4', null, 'Selected together with'),
      h(
        'div',
        { class: 'chips' },
        ...top.map((x) =>
          h(
            'button',
            { type: 'button', class: 'chip', onclick: () => this.app.store.set({ expert: x.e }) },
            h('b', null, String(x.e)),
            h('span', null, percent(x.p)),
          ),
        ),
      ),
    ];
  }
}
