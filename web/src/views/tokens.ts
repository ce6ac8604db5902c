// Tokens: the text as the model read it; the experts of one token in every layer; one layer's experts along the text;
// and a player through the generated tokens.

import { runOf, type App, type View } from '../app';
import { colorTable, cssOf, inkOn } from '../color';
import { fill, h, Segments } from '../dom';
import { integer, plural, quoted, real, seconds, visible } from '../format';
import { Legend } from '../legend';
import { Matrix } from '../matrix';
import { blockName, TileReader, widest } from '../model';
import { heatScale, largest, showLegend } from '../scale';

type Shade = 'selected' | 'first' | 'spread';

const perPage = 1024; // token elements at once

export class TokensView implements View {
  readonly name = 'tokens';
  readonly title = 'Tokens';
  readonly element: HTMLElement;
  readonly along: Matrix;
  readonly grid: Matrix;
  private text = h('div', {
    class: 'text',
    tabindex: 0,
    role: 'listbox',
    'aria-label': 'Tokens',
    onkeydown: (e: KeyboardEvent) => this.key(e),
  });
  private shade: Segments<Shade>;
  private legend = new Legend();
  private alongLegend = new Legend();
  private pager = h('div', { class: 'pager' });
  private detailTitle = h('h3', null);
  private detailFacts = h('p', { class: 'caption' });
  private list = h('div', { class: 'layer-list' });
  private alongTitle = h('h3', null);
  private empty = h('p', { class: 'empty' });
  private body = h('div', { class: 'tokens-body' });
  private player = h('div', { class: 'player' });
  private mode: Shade = 'first';
  private timer = 0;
  private painted = new Map<number, HTMLElement>();
  private pageFirst = 0; // tile index of the first token element
  reader: TileReader | null = null;

  constructor(private app: App) {
    this.shade = new Segments(
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
      (mode) => {
        this.mode = mode;
        this.paint();
      },
    );
    this.grid = new Matrix({
      label: 'Experts of the selected token in every layer',
      xTitle: 'expert →',
      yTitle: 'layer ↓',
      cellHeight: [5, 11],
      rowLabel: (row) => {
        const b = runOf(app).blocks[row];
        return b ? String(b.layer) : '';
      },
      colLabel: (col) => String(col),
      tip: ({ col, row }) => {
        const at = this.current();
        const b = runOf(app).blocks[row]!;
        const w = at === null ? null : this.reader!.weightOf(at, row, col);
        return {
          title: `${blockName(b)}, expert ${col}`,
          rows: [['gate weight', w === null ? 'not selected' : real(w)]],
        };
      },
      onselect: ({ col, row }) => col < runOf(app).blocks[row]!.n_expert && app.store.set({ block: row, expert: col }),
    });
    this.along = new Matrix({
      label: 'Experts of the selected layer along the text',
      xTitle: 'token →',
      yTitle: 'expert ↓',
      cellHeight: [3, 12],
      rowLabel: (row) => String(row),
      colLabel: (col) => integer(this.tileFirst() + col),
      tip: ({ col, row }) => {
        const w = this.reader!.weightOf(col, app.store.now.block, row);
        return {
          title: `${quoted(this.reader!.textAt(col))}, expert ${row}`,
          rows: [
            ['token', integer(this.tileFirst() + col)],
            ['gate weight', w === null ? 'not selected' : real(w)],
          ],
        };
      },
      onselect: ({ col, row }) => app.store.set({ token: this.tileFirst() + col, expert: row }),
    });
    const play = h('button', {
      type: 'button',
      class: 'button play',
      onclick: () => app.store.set({ playing: !app.store.now.playing }),
    });
    this.player.append(
      h(
        'button',
        { type: 'button', class: 'button', 'aria-label': 'Previous generated token', onclick: () => this.step(-1) },
        '‹',
      ),
      play,
      h(
        'button',
        { type: 'button', class: 'button', 'aria-label': 'Next generated token', onclick: () => this.step(1) },
        '›',
      ),
      h('span', { class: 'quiet', role: 'status' }),
    );
    this.body.append(
      h(
        'div',
        { class: 'card' },
        h('div', { class: 'toolbar' }, this.shade.element, this.player, this.legend.element),
        this.text,
        this.pager,
      ),
      h('div', { class: 'card detail' }, this.detailTitle, this.detailFacts, this.grid.element, this.list),
      h(
        'div',
        { class: 'card wide' },
        h('div', { class: 'toolbar' }, this.alongTitle, this.alongLegend.element),
        this.along.element,
      ),
    );
    this.element = h('section', null, this.body, this.empty);
  }

  update(changed: ReadonlySet<string> | 'all'): void {
    const run = runOf(this.app);
    const tile = this.app.tile();
    if (!this.reader || this.reader.tile !== tile) this.reader = new TileReader(tile, run);
    this.body.hidden = tile.n === 0;
    this.empty.hidden = tile.n > 0;
    this.empty.textContent = run.source.counts_only
      ? 'This trace holds counts only; it knows no tokens.'
      : 'This trace holds no tokens.';
    if (tile.n === 0) return;
    const touches = (...keys: string[]) => changed === 'all' || keys.some((k) => changed.has(k));
    if (touches('run')) this.pageFirst = 0;
    const at = this.current();
    if (at !== null && touches('token', 'run') && this.showPageOf(at)) this.write();
    else if (touches('run')) this.write();
    if (changed !== 'all' && changed.has('expert') && this.app.store.now.expert !== null) this.mode = 'selected';
    if (touches('run', 'block', 'expert', 'theme')) this.paint();
    if (touches('run', 'block', 'theme')) this.drawAlong();
    if (touches('run', 'token', 'theme')) this.drawDetail();
    if (touches('playing')) this.runPlayer();
    this.mark(touches('token'));
    if (changed === 'all') this.resize();
  }
  resize(): void {
    this.grid.layout();
    this.along.layout();
  }

  private tileFirst(): number {
    return this.app.tile().first;
  }
  // The selected token as an index into the tile.
  current(): number | null {
    const { token } = this.app.store.now;
    const tile = this.app.tile();
    return token === null || token < tile.first || token >= tile.first + tile.n ? null : token - tile.first;
  }

  // Moves to the page of token elements that holds tile index `at`; whether it changed.
  private showPageOf(at: number): boolean {
    const first = Math.floor(at / perPage) * perPage;
    const changed = first !== this.pageFirst || this.painted.size === 0;
    this.pageFirst = first;
    return changed;
  }

  // Writes the token elements: passages of one sequence under each other, in the order of the text.
  private write(): void {
    const r = this.reader!;
    const tile = r.tile;
    const end = Math.min(tile.n, this.pageFirst + perPage);
    const bySequence = new Map<number, number[]>();
    for (let i = this.pageFirst; i < end; i++) {
      const list = bySequence.get(tile.seq[i]!);
      if (list) list.push(i);
      else bySequence.set(tile.seq[i]!, [i]);
    }
    this.painted.clear();
    const passages: HTMLElement[] = [];
    for (const [seq, list] of [...bySequence].sort((a, b) => a[0] - b[0])) {
      let p: HTMLElement | null = null;
      let before = Infinity;
      let phase = -1;
      for (const i of list) {
        const pos = tile.pos[i]!;
        const restarts = pos >= 0 && pos <= before && before !== Infinity && pos !== before + 1;
        if (!p || restarts) {
          p = h('p', { class: 'passage', 'data-name': bySequence.size > 1 || seq > 0 ? `sequence ${seq}` : '' });
          passages.push(p);
          phase = -1;
        }
        if (phase === 0 && tile.phase[i] === 1)
          p.append(h('span', { class: 'turn', title: 'From here on generated' }, '▸'));
        before = pos;
        phase = tile.phase[i]!;
        const token = this.tokenElement(i);
        p.append(token);
        if (r.textAt(i).includes('\n')) p.append(h('br'));
      }
    }
    fill(this.text, ...passages);
    this.writePager(end);
  }

  private tokenElement(i: number): HTMLElement {
    const e = h(
      'bdi',
      {
        class: 'token' + (this.reader!.tile.phase[i] === 1 ? ' decoded' : ''),
        role: 'option',
        'data-token': this.tileFirst() + i,
        onclick: () => this.app.store.set({ token: this.tileFirst() + i, playing: false }),
      },
      visible(this.reader!.textAt(i)),
    );
    this.painted.set(i, e);
    return e;
  }

  private writePager(end: number): void {
    const run = runOf(this.app);
    const tile = this.app.tile();
    const total = run.tokens;
    const go = (to: number) => this.showFrom(Math.max(0, Math.min(total - 1, to)));
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

  // Shows the tokens from this number of the run on, fetching them where the page does not hold them.
  async showFrom(token: number): Promise<void> {
    const tile = this.app.tile();
    if (token < tile.first || token >= tile.first + tile.n) {
      if (!this.app.source.served) return;
      const first = Math.floor(token / (perPage * 4)) * perPage * 4;
      this.app.setTile(await this.app.source.tile(runOf(this.app).number, first, perPage * 4));
      this.reader = new TileReader(this.app.tile(), runOf(this.app));
      this.drawAlong();
    }
    this.pageFirst = Math.floor((token - this.tileFirst()) / perPage) * perPage;
    this.write();
    this.paint();
    this.mark(false);
    this.resize();
  }

  // What a token's colour says, 0 … 1; NaN: nothing.
  private shadeOf(i: number): number {
    const { block, expert } = this.app.store.now;
    if (this.mode === 'selected') return expert === null ? NaN : (this.reader!.weightOf(i, block, expert) ?? NaN);
    const weights = this.reader!.selections(i, block).map((s) => s.weight);
    if (weights.length === 0) return NaN;
    if (this.mode === 'first') return Math.max(...weights);
    const sum = weights.reduce((a, b) => a + b, 0);
    return weights.length < 2
      ? 0
      : -weights.reduce((a, w) => a + (w > 0 ? (w / sum) * Math.log(w / sum) : 0), 0) / Math.log(weights.length);
  }

  private paint(): void {
    if (!this.reader) return;
    const { theme, block, expert } = this.app.store.now;
    const run = runOf(this.app);
    if (this.mode === 'selected' && expert === null) this.mode = 'first';
    this.shade.set(this.mode);
    const values = new Map([...this.painted.keys()].map((i) => [i, this.shadeOf(i)]));
    const most = largest([...values.values()]) || 1;
    const scale = heatScale(most);
    const table = colorTable(theme, 'heat');
    for (const [i, e] of this.painted) {
      const index = scale.index([values.get(i)!])[0]!;
      e.style.backgroundColor = index === 255 ? '' : cssOf(table[index]!);
      e.style.color = index === 255 ? '' : inkOn(table[index]!);
    }
    const b = blockName(run.blocks[block]!);
    showLegend(this.legend, theme, scale, real, null);
    this.legend.element.title =
      this.mode === 'selected'
        ? `gate weight of expert ${expert} in ${b}`
        : this.mode === 'first'
          ? `largest gate weight in ${b}`
          : `entropy of the gate weights in ${b}`;
  }

  private mark(scroll: boolean): void {
    const at = this.current();
    const together = at === null ? null : this.reader!.ubatchOf(at);
    const playing = this.app.store.now.playing;
    for (const [i, e] of this.painted) {
      e.setAttribute('aria-selected', String(i === at));
      e.classList.toggle('together', together !== null && playing && i >= together[0] && i < together[1]);
    }
    if (scroll && at !== null) {
      const e = this.painted.get(at);
      const box = this.text;
      if (e && (e.offsetTop < box.scrollTop || e.offsetTop > box.scrollTop + box.clientHeight - 30))
        box.scrollTop = e.offsetTop - box.clientHeight / 2;
    }
    const { block, expert } = this.app.store.now;
    this.grid.mark(expert === null ? [] : [{ col: expert, row: block }]);
    this.along.mark(at === null ? [] : [{ col: at, row: expert ?? 0 }]);
    for (const row of this.list.children)
      row.setAttribute('aria-current', String((row as HTMLElement).dataset['block'] === String(block)));
  }

  private drawDetail(): void {
    const at = this.current();
    const run = runOf(this.app);
    const r = this.reader!;
    const { theme } = this.app.store.now;
    if (at === null) {
      this.detailTitle.textContent = 'A token’s experts';
      this.detailFacts.textContent = 'Choose a token to see which experts it was sent to in every layer.';
      this.grid.element.hidden = true;
      fill(this.list);
      return;
    }
    this.grid.element.hidden = false;
    const tile = r.tile;
    const [begin, end] = r.ubatchOf(at);
    this.detailTitle.replaceChildren('Token ', h('bdi', { class: 'piece' }, quoted(r.textAt(at))));
    this.detailFacts.textContent = [
      `number ${integer(tile.first + at)}`,
      `id ${tile.token[at]}`,
      `position ${tile.pos[at]}`,
      tile.phase[at] === 1 ? 'generated' : 'prompt',
      `at ${seconds(tile.time_s[tile.ubatch[at]!]!)}`,
      end - begin > 1 ? `in an ubatch of ${end - begin}` : '',
    ]
      .filter(Boolean)
      .join(' · ');
    const cols = widest(run);
    const values = new Float64Array(cols * run.blocks.length).fill(NaN);
    run.blocks.forEach((_, row) =>
      r.selections(at, row).forEach((s) => {
        values[row * cols + s.expert] = Number.isNaN(s.weight) ? 1 : s.weight;
      }),
    );
    this.grid.setCells(heatScale(largest(values) || 1).index(values), cols, run.blocks.length);
    this.grid.setColors(colorTable(theme, 'heat'));
    this.grid.layout();
    fill(
      this.list,
      ...run.blocks.map((b, row) =>
        h(
          'div',
          { class: 'layer-row', 'data-block': row },
          h('span', { class: 'quiet' }, String(b.layer)),
          ...r
            .selections(at, row)
            .map((s) =>
              h(
                'button',
                { type: 'button', class: 'chip', onclick: () => this.app.store.set({ block: row, expert: s.expert }) },
                h('b', null, String(s.expert)),
                h('span', null, Number.isNaN(s.weight) ? '' : s.weight.toFixed(3)),
              ),
            ),
        ),
      ),
    );
  }

  private drawAlong(): void {
    const run = runOf(this.app);
    const { block, theme } = this.app.store.now;
    const b = run.blocks[block]!;
    const tile = this.app.tile();
    const values = new Float64Array(b.n_expert * tile.n).fill(NaN);
    for (let i = 0; i < tile.n; i++) {
      for (const s of this.reader!.selections(i, block))
        values[s.expert * tile.n + i] = Number.isNaN(s.weight) ? 1 : s.weight;
    }
    const scale = heatScale(largest(values) || 1);
    this.alongTitle.textContent = `Experts of ${blockName(b)} along the text`;
    this.along.setCells(scale.index(values), tile.n, b.n_expert);
    this.along.setColors(colorTable(theme, 'heat'));
    showLegend(this.alongLegend, theme, scale, real, 'not selected');
    this.along.layout();
  }

  // ---- player ------------------------------------------------------------------------------------------------------

  // The next or previous generated token; around the ends.
  step(by: 1 | -1): void {
    const tile = this.app.tile();
    const at = this.current();
    const decoded = [...tile.phase.keys()].filter((i) => tile.phase[i] === 1);
    const list = decoded.length > 0 ? decoded : [...tile.phase.keys()];
    const next =
      by > 0
        ? (list.find((i) => i > (at ?? -1)) ?? list[0]!)
        : (list.findLast((i) => i < (at ?? tile.n)) ?? list.at(-1)!);
    this.app.store.set({ token: tile.first + next });
  }
  runPlayer(): void {
    const { playing } = this.app.store.now;
    const tile = this.app.tile();
    clearInterval(this.timer);
    if (playing) this.timer = window.setInterval(() => this.step(1), 220);
    const button = this.player.querySelector('.play')!;
    button.textContent = playing ? 'Pause' : 'Play';
    const generated = tile.phase.reduce((n, p) => n + p, 0);
    this.player.querySelector('span')!.textContent =
      generated > 0 ? plural(generated, 'generated token') : plural(tile.n, 'token');
  }

  private key(e: KeyboardEvent): void {
    const step: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -10, ArrowDown: 10 };
    if (!(e.key in step) || e.altKey || e.ctrlKey || e.metaKey) return;
    const tile = this.app.tile();
    const at = this.current();
    const next = at === null ? this.pageFirst : Math.min(tile.n - 1, Math.max(0, at + step[e.key]!));
    this.app.store.set({ token: tile.first + next, playing: false });
    e.preventDefault();
  }
}
