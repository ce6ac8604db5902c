// Tokens: the text as the model read it; the experts of one token in every layer; one layer's experts along the text;
// and a player through the generated tokens.

import { runOf, type App, type Table, type View } from '../app';
import { colorTable } from '../color';
import { h } from '../dom';
import { integer, quoted, real } from '../format';
import { Legend } from '../legend';
import { Matrix, type Cell } from '../matrix';
import { blockName, isProfile } from '../model';
import { heatScale, largest, showLegend } from '../scale';
import type { TipRows } from '../tooltip';
import { TokenDetail } from './token_detail';
import { TokenFinder } from './token_finder';
import { TokenPlayer } from './token_player';
import { perPage, TokenText } from './token_text';
import { TokensAtHand } from './tokens_at_hand';

export class TokensView implements View {
  readonly name = 'tokens';
  readonly title = 'Tokens';
  readonly element: HTMLElement;
  readonly player: TokenPlayer;
  readonly along: Matrix;
  private atHand: TokensAtHand;
  private text: TokenText;
  private detail: TokenDetail;
  private finder: TokenFinder;
  private alongLegend = new Legend();
  private alongTitle = h('h3', null);
  private empty = h('p', { class: 'empty' });
  private body: HTMLElement;
  private fetching = false;

  constructor(private app: App) {
    this.atHand = new TokensAtHand(app);
    this.text = new TokenText(app, this.atHand, (token) => void this.showFrom(token));
    this.detail = new TokenDetail(app, this.atHand);
    this.finder = new TokenFinder(app, this.atHand);
    this.player = new TokenPlayer(app, this.atHand);
    this.along = new Matrix({
      label: 'Experts of the selected layer along the text',
      xTitle: 'token →',
      yTitle: 'expert ↓',
      cellHeight: [3, 12],
      rowLabel: (row) => String(row),
      colLabel: (col) => integer(this.atHand.first + col),
      tip: (cell) => this.tipAlong(cell),
      onselect: ({ col, row }) => app.store.set({ token: this.atHand.first + col, expert: row }),
    });
    const { shades, legend, text, pager } = this.text;
    this.body = h(
      'div',
      { class: 'tokens-body' },
      h(
        'div',
        { class: 'card' },
        h('div', { class: 'toolbar' }, shades.element, this.player.element, legend.element),
        this.finder.element,
        text,
        pager,
      ),
      this.detail.element,
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
    const tile = this.app.tile();
    this.body.hidden = tile.n === 0;
    this.empty.hidden = tile.n > 0;
    this.empty.textContent = runOf(this.app).source.counts_only
      ? isProfile(runOf(this.app))
        ? 'A profile holds sums, no tokens.'
        : 'This trace holds only counts, no tokens.'
      : 'This trace holds no tokens.';
    if (tile.n === 0) return;
    const touches = (...keys: string[]) => changed === 'all' || keys.some((k) => changed.has(k));
    if (touches('run', 'token')) {
      void this.fetchSelected();
      this.showSelected(touches('run'));
    }
    if (touches('run', 'block', 'expert', 'theme', 'options')) this.text.paint();
    this.finder.update();
    this.text.markFound(this.finder.found());
    if (touches('run', 'block', 'theme')) this.drawAlong();
    if (touches('run', 'token', 'theme')) this.detail.draw();
    if (touches('playing')) this.player.run();
    this.mark(touches('token'));
    if (changed === 'all') this.resize();
  }
  resize(): void {
    this.grid.layout();
    this.along.layout();
  }
  get grid(): Matrix {
    return this.detail.grid;
  }

  // Writes the page of tokens that the selected one is on, unless it is there already and of the same run.
  private showSelected(anew: boolean): void {
    if (anew) this.text.goTo(0);
    const at = this.atHand.selected;
    const turned = at !== null && this.text.goTo(at);
    if (anew || turned) this.text.write();
  }

  // The selected token of a served page may be one that is not at hand: from a link, or of a prompt further on.
  private async fetchSelected(): Promise<void> {
    const { token } = this.app.store.now;
    if (token === null || this.atHand.selected !== null || !this.app.source.served || this.fetching) return;
    this.fetching = true;
    try {
      await this.showFrom(token);
    } catch (e) {
      this.app.say(e instanceof Error ? e.message : String(e));
    }
    this.fetching = false;
    if (this.atHand.selected !== null) this.update(new Set(['token']));
  }

  // Shows the tokens from this number of the run on, fetching them where the page does not hold them.
  async showFrom(token: number): Promise<void> {
    const tile = this.app.tile();
    if (token < tile.first || token >= tile.first + tile.n) {
      if (!this.app.source.served) return;
      const first = Math.floor(token / (perPage * 4)) * perPage * 4;
      this.app.setTile(await this.app.source.tile(runOf(this.app).number, first, perPage * 4));
      this.drawAlong();
    }
    this.text.goTo(token - this.atHand.first);
    this.text.write();
    this.text.paint();
    this.mark(false);
    this.resize();
  }

  table(): Table {
    const { block } = this.app.store.now;
    const { reader } = this.atHand;
    const { tile } = reader;
    const b = runOf(this.app).blocks[block]!;
    const each = Array.from({ length: b.n_expert_used }, (_, j) => j);
    return {
      columns: [
        ...['token', 'sequence', 'position', 'phase', 'id', 'text', 'layer', 'block'],
        ...each.map((j) => `expert_${j + 1}`),
        ...each.map((j) => `weight_${j + 1}`),
      ],
      rows: Array.from({ length: tile.n }, (_, i) => {
        const selected = reader.selections(i, block);
        const phase = tile.phase[i] === 1 ? 'generated' : 'prompt';
        return [
          ...[tile.first + i, tile.seq[i]!, tile.pos[i]!, phase, tile.token[i]!],
          ...[reader.knowsText(i) ? reader.textAt(i) : '', b.layer, b.block],
          ...each.map((j) => selected[j]?.expert ?? NaN),
          ...each.map((j) => selected[j]?.weight ?? NaN),
        ];
      }),
    };
  }

  private mark(scroll: boolean): void {
    const at = this.atHand.selected;
    this.text.mark(scroll);
    this.detail.mark();
    this.along.mark(at === null ? [] : [{ col: at, row: this.app.store.now.expert ?? 0 }]);
  }

  private drawAlong(): void {
    const { block, theme } = this.app.store.now;
    const b = runOf(this.app).blocks[block]!;
    const { reader } = this.atHand;
    const { n } = reader.tile;
    const values = new Float64Array(b.n_expert * n).fill(NaN);
    for (let i = 0; i < n; i++) {
      for (const s of reader.selections(i, block)) values[s.expert * n + i] = Number.isNaN(s.weight) ? 1 : s.weight;
    }
    const scale = heatScale(largest(values) || 1);
    this.alongTitle.textContent = `Experts of ${blockName(b)} along the text`;
    this.along.setCells(scale.index(values), n, b.n_expert);
    this.along.setColors(colorTable(theme, 'heat'));
    showLegend(this.alongLegend, theme, scale, real, 'not selected');
    this.along.layout();
  }
  private tipAlong({ col, row }: Cell): { title: string; rows: TipRows } {
    const { reader } = this.atHand;
    const w = reader.weightOf(col, this.app.store.now.block, row);
    return {
      title: `${quoted(reader.textAt(col))}, expert ${row}`,
      rows: [
        ['token', integer(this.atHand.first + col)],
        ['gate weight', w === null ? 'not selected' : real(w)],
      ],
    };
  }
}
