// One token: which experts it was sent to in every layer, as a picture and as a list with their weights.

import { runOf, type App } from '../app';
import { colorTable } from '../color';
import { fill, h } from '../dom';
import { integer, quoted, real, seconds } from '../format';
import { Matrix, type Cell } from '../matrix';
import { blockName, widest, type TileReader } from '../model';
import { heatScale, largest } from '../scale';
import type { Run } from '../contract';
import type { TipRows } from '../tooltip';
import type { TokensAtHand } from './tokens_at_hand';

function factsOf(reader: TileReader, at: number): string {
  const { tile } = reader;
  const [begin, end] = reader.ubatchOf(at);
  const facts = [
    `number ${integer(tile.first + at)}`,
    `id ${tile.token[at]}`,
    `position ${tile.pos[at]}`,
    tile.phase[at] === 1 ? 'generated' : 'prompt',
    `at ${seconds(tile.time_s[tile.ubatch[at]!]!)}`,
    end - begin > 1 ? `in a ubatch of ${end - begin}` : '',
  ];
  return facts.filter(Boolean).join(' · ');
}

export class TokenDetail {
  readonly element: HTMLElement;
  readonly grid: Matrix;
  private title = h('h3', null);
  private facts = h('p', { class: 'caption' });
  private list = h('div', { class: 'layer-list' });

  constructor(
    private app: App,
    private atHand: TokensAtHand,
  ) {
    this.grid = new Matrix({
      label: 'Experts of the selected token in every layer',
      xTitle: 'expert →',
      yTitle: 'layer ↓',
      cellHeight: [5, 11],
      rowLabel: (row) => String(runOf(app).blocks[row]?.layer ?? ''),
      colLabel: (col) => String(col),
      tip: (cell) => this.tip(cell),
      onselect: ({ col, row }) => col < runOf(app).blocks[row]!.n_expert && app.store.set({ block: row, expert: col }),
    });
    this.element = h('div', { class: 'card detail' }, this.title, this.facts, this.grid.element, this.list);
  }

  draw(): void {
    const at = this.atHand.selected;
    this.grid.element.hidden = at === null;
    if (at === null) {
      this.title.textContent = 'A token’s experts';
      this.facts.textContent = 'Choose a token to see its experts in every layer.';
      fill(this.list);
      return;
    }
    const run = runOf(this.app);
    const { reader } = this.atHand;
    fill(this.title, 'Token ', h('bdi', { class: 'piece' }, quoted(reader.textAt(at))));
    this.facts.textContent = factsOf(reader, at);
    this.drawGrid(run, reader, at);
    fill(this.list, ...run.blocks.map((_, block) => this.layerRow(run, reader, at, block)));
  }
  mark(): void {
    const { block, expert } = this.app.store.now;
    this.grid.mark(expert === null ? [] : [{ col: expert, row: block }]);
    for (const row of this.list.children)
      row.setAttribute('aria-current', String((row as HTMLElement).dataset['block'] === String(block)));
  }

  private drawGrid(run: Run, reader: TileReader, at: number): void {
    const cols = widest(run);
    const values = new Float64Array(cols * run.blocks.length).fill(NaN);
    run.blocks.forEach((_, row) => {
      for (const s of reader.selections(at, row)) values[row * cols + s.expert] = Number.isNaN(s.weight) ? 1 : s.weight;
    });
    this.grid.setCells(heatScale(largest(values) || 1).index(values), cols, run.blocks.length);
    this.grid.setColors(colorTable(this.app.store.now.theme, 'heat'));
    this.grid.layout();
  }

  private layerRow(run: Run, reader: TileReader, at: number, block: number): HTMLElement {
    const chips = reader
      .selections(at, block)
      .map(({ expert, weight }) =>
        h(
          'button',
          { type: 'button', class: 'chip', onclick: () => this.app.store.set({ block, expert }) },
          h('b', null, String(expert)),
          h('span', null, Number.isNaN(weight) ? '' : weight.toFixed(3)),
        ),
      );
    const layer = h('span', { class: 'quiet' }, String(run.blocks[block]!.layer));
    return h('div', { class: 'layer-row', 'data-block': block }, layer, ...chips);
  }

  private tip({ col, row }: Cell): { title: string; rows: TipRows } {
    const at = this.atHand.selected;
    const w = at === null ? null : this.atHand.reader.weightOf(at, row, col);
    return {
      title: `${blockName(runOf(this.app).blocks[row]!)}, expert ${col}`,
      rows: [['gate weight', w === null ? 'not selected' : real(w)]],
    };
  }
}
