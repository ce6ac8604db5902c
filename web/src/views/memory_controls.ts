// What the reader chooses in the memory view: which entries, in which order, and what a pixel shows that several share. All of
// it is kept in the store, so that a link brings it back.

import type { App } from '../app';
import type { Memory } from '../contract';
import { h, Segments, select } from '../dom';
import type { Pooling } from './memory_look';

export interface MemoryChoices {
  layer: number | null;
  component: number | null; // index
  firstOrder: boolean; // the experts as they lay before `moescope reorder`
  pooling: Pooling;
}

export class MemoryControls {
  readonly elements: HTMLElement[];
  private layerFilter: HTMLSelectElement;
  private componentFilter: HTMLSelectElement;
  private order: Segments<string>;
  private pooling: Segments<Pooling>;

  constructor(
    private app: App,
    private memory: Memory,
    private layers: number[],
  ) {
    const { store } = app;
    this.layerFilter = select(
      'Layer',
      [
        { value: NaN, label: 'All layers' },
        ...layers.map((l) => ({ value: l, label: l < 0 ? 'Outside the layers' : `Layer ${l}` })),
      ],
      (layer) => store.choose('memory', 'only', Number.isNaN(layer) ? null : layer),
    );
    this.componentFilter = select(
      'Component',
      [{ value: -1, label: 'All components' }, ...memory.components.map((c, i) => ({ value: i, label: c }))],
      (i) => store.choose('memory', 'component', i < 0 ? null : memory.components[i]!),
    );
    this.pooling = new Segments<Pooling>(
      'Where several slices share a pixel',
      [
        { value: 'maximum', label: 'Hottest', title: 'Where slices share a column of pixels, it shows the hottest' },
        { value: 'mean', label: 'Mean', title: 'Where slices share a column of pixels, it shows their mean by bytes' },
      ],
      (pooling) => store.choose('memory', 'pixel', pooling === 'maximum' ? null : pooling),
    );
    this.order = new Segments(
      'Order of experts in the file',
      [
        { value: 'now', label: 'As they lie', title: 'The order that moescope reorder gave them' },
        { value: 'first', label: 'Before reorder', title: 'Where the same experts lay in the first file' },
      ],
      (v) => store.choose('memory', 'order', v === 'first' ? v : null),
    );
    this.order.element.hidden = memory.first_ids.length === 0;
    const pixel = h('span', { class: 'field' }, h('span', null, 'a pixel shows'), this.pooling.element);
    this.elements = [this.layerFilter, this.componentFilter, this.order.element, pixel];
  }

  // What is chosen, shown by the controls as well.
  read(): MemoryChoices {
    const chosen = (name: string) => this.app.store.option('memory', name);
    const layer = this.layers.indexOf(Number(chosen('only') ?? NaN));
    const component = this.memory.components.indexOf(chosen('component') ?? '');
    const pooling = chosen('pixel') === 'mean' ? 'mean' : 'maximum';
    const firstOrder = chosen('order') === 'first' && this.memory.first_ids.length > 0;
    this.layerFilter.selectedIndex = layer + 1;
    this.componentFilter.selectedIndex = component + 1;
    this.pooling.set(pooling);
    this.order.set(firstOrder ? 'first' : 'now');
    return {
      layer: layer < 0 ? null : this.layers[layer]!,
      component: component < 0 ? null : component,
      firstOrder,
      pooling,
    };
  }
}
