// Controls that several views have.

import { runOf, type App } from '../app';
import { select, Segments } from '../dom';
import { blockName } from '../model';
import type { Sort } from '../state';

// The layers of the run in view, the selected one chosen.
export function layerPicker(app: App): HTMLSelectElement {
  const layers = runOf(app).blocks.map((b, i) => ({ value: i, label: blockName(b) }));
  const picker = select('Layer', layers, (block) => app.store.set({ block, expert: null }));
  picker.selectedIndex = app.store.now.block;
  return picker;
}

export function orderControl(app: App): Segments<Sort> {
  return new Segments(
    'Order of experts',
    [
      { value: 'id', label: 'By id' },
      { value: 'heat', label: 'By heat' },
      { value: 'similarity', label: 'By similarity' },
    ],
    (sort) => app.store.set({ sort }),
  );
}
