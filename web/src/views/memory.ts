// Memory: the model file from its first byte to its last. A strip shows every tensor and every expert slice where it
// lies; below it every layer is a row of its own. Colour is how often it was read.

import { runOf, type App, type Table, type View } from '../app';
import { factTile, fill, h } from '../dom';
import { inFirstOrder } from '../first_order';
import { bytes, integer, percent, plural } from '../format';
import { Legend } from '../legend';
import { entryName, isSlice, sliceIndex, sumReads, useOf, type ReadSums } from '../memory_map';
import { blockName, TileReader } from '../model';
import { showLegend } from '../scale';
import { hideTip, showTip, type TipRows } from '../tooltip';
import type { Memory } from '../contract';
import { MemoryColors } from './memory_colors';
import { MemoryControls, type MemoryChoices } from './memory_controls';
import type { EntryLook } from './memory_look';
import { LayerRows } from './memory_rows';
import { MemoryStrip } from './memory_strip';

export class MemoryView implements View {
  readonly name = 'memory';
  readonly title = 'Memory';
  readonly element: HTMLElement;
  private m: Memory;
  private strip: MemoryStrip;
  private rows: LayerRows;
  private legend = new Legend();
  private facts = h('div', { class: 'fact-tiles' });
  private caption = h('p', { class: 'caption' });
  private where = h('div', { class: 'quiet where' });
  private layers: number[];
  private controls: MemoryControls;
  private chosen: MemoryChoices = { layer: null, component: null, firstOrder: false, pooling: 'maximum' };
  private toSelected = h(
    'button',
    { type: 'button', class: 'button', onclick: () => this.zoomToSelected() },
    'Zoom to selection',
  );
  private shown: Uint8Array; // [entry] 1: passes the filters
  private colors!: MemoryColors; // since the first update
  private lit = new Set<number>(); // slices that the selected token reads
  private focus: number | null = null; // entry

  constructor(
    private app: App,
    memory: Memory,
  ) {
    this.m = memory;
    this.shown = new Uint8Array(memory.offset.length).fill(1);
    this.layers = [...new Set(memory.layer)].sort((a, b) => a - b);
    this.strip = new MemoryStrip(memory, () => this.draw());
    this.rows = new LayerRows(memory, this.layers);
    this.controls = new MemoryControls(app, memory, this.layers);
    const reset = h('button', { type: 'button', class: 'button', onclick: () => this.zoomToAll() }, 'Whole file');
    this.element = h(
      'section',
      { class: 'card' },
      h('div', { class: 'toolbar' }, ...this.controls.elements, this.toSelected, reset, this.legend.element),
      this.facts,
      h('div', { class: 'strips' }, this.strip.overview, this.strip.canvas, this.where),
      this.caption,
      h('h4', null, 'One row per layer, all on one scale'),
      this.rows.canvas,
    );
    this.listen();
  }

  update(changed: ReadonlySet<string> | 'all'): void {
    const touches = (...keys: string[]) => changed === 'all' || keys.some((k) => changed.has(k));
    this.m = this.app.page.memory!; // a live page gets new counts
    const before = this.chosen;
    if (touches('options')) this.chosen = this.controls.read();
    const { firstOrder, layer, component } = this.chosen;
    if (firstOrder) this.m = inFirstOrder(this.m);
    if (firstOrder !== before.firstOrder) {
      this.strip.m = this.rows.m = this.m;
      this.focus = null;
    }
    if (touches('run', 'theme', 'options')) this.recolor();
    if (touches('run', 'token')) this.lightUp();
    if (changed !== 'all' && touches('block', 'expert')) this.focus = this.selected()[0] ?? null;
    if (changed === 'all') this.layout();
    if (layer !== before.layer || component !== before.component) this.filter(layer, component);
    this.draw();
  }
  resize(): void {
    this.layout();
    this.draw();
  }
  private layout(): void {
    const width = this.strip.layout();
    if (width > 0) this.rows.layout(width);
  }
  table(): Table {
    const { m } = this;
    const rows: (string | number)[][] = [];
    m.tensor.forEach((tensor, i) => {
      if (!this.passes(i)) return;
      const known = [m.layer[i]!, m.expert[i]!, this.accesses(i)].map((n) => (n < 0 ? NaN : n));
      const what = [m.tensors[tensor]!, m.types[tensor]!, m.components[m.component[i]!]!];
      rows.push([m.files[m.part[i]!]!.name, m.offset[i]!, m.size[i]!, ...what, ...known]);
    });
    const names = ['tensor', 'type', 'component', 'layer', 'expert', 'accesses'];
    return { columns: ['file', 'offset', 'bytes', ...names], rows };
  }

  // For tests: the file's size, the entry's accesses, its box in the strip, and what colour it has there.
  get total(): number {
    return this.strip.axis.total;
  }
  accesses(entry: number): number {
    return this.m.accesses[this.app.store.now.run]?.[entry] ?? -1;
  }
  boxOf(entry: number): { x: number; width: number } {
    return this.strip.axis.boxOf(entry);
  }
  colorOf(entry: number): string {
    return this.colors.of(entry);
  }
  slicesLit(): number[] {
    return [...this.lit];
  }
  passes(entry: number): boolean {
    return this.shown[entry] === 1;
  }
  zoomTo(from: number, to: number): void {
    this.strip.zoomTo(from, to);
  }

  private recolor(): void {
    const { run, theme } = this.app.store.now;
    const { m } = this;
    const { values, verb } = useOf(m, runOf(this.app), run);
    this.colors = new MemoryColors(m, values, theme);
    showLegend(this.legend, theme, this.colors.scale, (v) => integer(Math.round(v)), 'not ' + verb);
    this.writeFacts(sumReads(m, values), verb);
  }
  private writeFacts(sums: ReadSums, verb: 'read' | 'selected'): void {
    const { m, total } = this;
    fill(
      this.facts,
      factTile('file', bytes(total), plural(m.files.length, 'part') + ', ' + plural(m.tensors.length, 'tensor')),
      factTile(
        'expert slices',
        integer(sums.slices),
        bytes(sums.sliceBytes) + ', ' + percent(sums.sliceBytes / total) + ' of the file',
      ),
      factTile('slices ' + verb, integer(sums.slicesRead), bytes(sums.bytesRead)),
      factTile('never ' + verb, integer(sums.slices - sums.slicesRead), bytes(sums.sliceBytes - sums.bytesRead)),
    );
    const what =
      verb === 'read'
        ? 'Colour: how many ubatches read an expert’s slice. Other tensors are blue-grey if they were read. ' +
          (sums.othersUnknown > 0
            ? 'They are grey if the trace does not say what read them (record with --capture access). '
            : '')
        : 'Colour: how many rows selected the expert, for what was read is not known here. ';
    this.caption.textContent =
      what +
      'Where several slices share a column of pixels, it shows the hottest of them, or their mean by bytes. ' +
      'Scroll to zoom, drag to move, click to select an expert.';
  }

  private selected(): number[] {
    const { block, expert } = this.app.store.now;
    const run = runOf(this.app);
    return expert === null ? [] : [...sliceIndex(this.m, run).slicesOf(run.blocks[block]!.first_cell + expert)];
  }

  // The slices that the ubatch of the selected token reads.
  private lightUp(): void {
    this.lit.clear();
    const { token } = this.app.store.now;
    const run = runOf(this.app);
    const tile = this.app.tile();
    if (token === null || token < tile.first || token >= tile.first + tile.n) return;
    const reader = new TileReader(tile, run);
    const index = sliceIndex(this.m, run);
    const [begin, end] = reader.ubatchOf(token - tile.first);
    for (let i = begin; i < end; i++) {
      run.blocks.forEach((b, block) => {
        for (const s of reader.selections(i, block))
          for (const slice of index.slicesOf(b.first_cell + s.expert)) this.lit.add(slice);
      });
    }
  }

  private filter(layer: number | null, component: number | null): void {
    const { m } = this;
    const { axis } = this.strip;
    let first = Infinity;
    let last = 0;
    for (let i = 0; i < this.shown.length; i++) {
      const on = (layer === null || m.layer[i] === layer) && (component === null || m.component[i] === component);
      this.shown[i] = on ? 1 : 0;
      if (on) {
        first = Math.min(first, axis.begin[i]!);
        last = Math.max(last, axis.end(i));
      }
    }
    if (layer !== null && last > first) this.zoomTo(first, last);
    else this.zoomToAll();
  }
  private zoomToAll(): void {
    this.zoomTo(0, this.total);
  }
  private zoomToSelected(): void {
    const i = this.focus ?? this.selected()[0];
    if (i !== undefined) this.zoomTo(this.strip.axis.begin[i]!, this.strip.axis.end(i));
  }

  private draw(): void {
    const { axis } = this.strip;
    if (axis.width === 0) return;
    const look = this.look();
    this.strip.draw(look);
    this.rows.draw(look);
    const [from, to] = axis.view.map(Math.round) as [number, number];
    this.where.textContent =
      `bytes ${integer(Math.max(0, from))} – ${integer(Math.min(this.total, to))}` +
      (this.focus !== null ? ` · ${entryName(this.m, this.focus)}` : '');
    this.toSelected.disabled = this.focus === null && look.selected.size === 0;
  }
  private look(): EntryLook {
    const style = getComputedStyle(this.element);
    return {
      quiet: style.getPropertyValue('--quiet'),
      mark: style.getPropertyValue('--mark'),
      ink: style.getPropertyValue('--ink'),
      colorOf: (i) => this.colorOf(i),
      rankOf: (i) => this.colors.rankOf(i),
      meanColorOf:
        this.chosen.pooling === 'mean' ? (from, to) => this.colors.meanOf(from, to, (i) => this.passes(i)) : null,
      shown: (i) => this.passes(i),
      lit: this.lit,
      selected: new Set(this.selected()),
      focus: this.focus,
    };
  }

  private listen(): void {
    const pictures = [
      { canvas: this.strip.canvas, entryAt: (e: MouseEvent) => this.strip.entryAtPixel(e.offsetX) },
      { canvas: this.rows.canvas, entryAt: (e: MouseEvent) => this.rows.entryAt(e.offsetX, e.offsetY) },
    ];
    for (const { canvas, entryAt } of pictures) {
      canvas.addEventListener('pointermove', (e) => {
        const i = entryAt(e);
        if (i === null) hideTip();
        else showTip(e, entryName(this.m, i), this.tip(i));
      });
      canvas.addEventListener('pointerleave', hideTip);
      canvas.addEventListener('click', (e) => this.pick(entryAt(e)));
    }
    this.strip.canvas.addEventListener('keydown', (e) => this.key(e));
  }
  private key(e: KeyboardEvent): void {
    if (e.key === 'ArrowRight') this.pickNext(1);
    else if (e.key === 'ArrowLeft') this.pickNext(-1);
    else if (e.key === '+' || e.key === '=') this.strip.zoomBy(2);
    else if (e.key === '-') this.strip.zoomBy(0.5);
    else if (e.key === '0') this.zoomToAll();
    else if (e.key === 'Enter') this.zoomToSelected();
    else return;
    e.preventDefault();
  }

  private tip(i: number): TipRows {
    const { m } = this;
    const run = runOf(this.app);
    const reads = this.accesses(i);
    const rows: TipRows = [
      ['component', m.components[m.component[i]!]!],
      ['type', m.types[m.tensor[i]!]!],
      ['bytes', integer(m.size[i]!)],
      ['offset', integer(m.offset[i]!)],
      ['accesses', reads < 0 ? 'not recorded' : integer(reads)],
    ];
    if (isSlice(m, i)) {
      const block = sliceIndex(m, run).blockOf[i]!;
      rows.unshift(['expert', String(m.expert[i])]);
      if (block >= 0)
        rows.push(
          ['selections (rows)', integer(run.cells.count[run.blocks[block]!.first_cell + m.expert[i]!]!)],
          ['routed by', blockName(run.blocks[block]!)],
        );
    }
    if (m.files.length > 1) rows.push(['file', m.files[m.part[i]!]!.name]);
    return rows;
  }

  private pick(i: number | null): void {
    this.focus = i;
    if (i !== null) {
      const said = this.tip(i).map(([k, v]) => `${k} ${v}`);
      this.app.say(`${entryName(this.m, i)}: ${said.join(', ')}`);
      const block = isSlice(this.m, i) ? sliceIndex(this.m, runOf(this.app)).blockOf[i]! : -1;
      if (block >= 0) this.app.store.set({ block, expert: this.m.expert[i]! });
      this.focus = i; // the change of the selection has put it on the expert's first slice
    }
    this.draw();
  }
  // The next entry, or the one before, that passes the filters.
  private pickNext(by: 1 | -1): void {
    const n = this.shown.length;
    let i = (this.focus ?? (by > 0 ? -1 : n)) + by;
    while (i >= 0 && i < n && !this.passes(i)) i += by;
    if (i >= 0 && i < n) this.pick(i);
  }
}
