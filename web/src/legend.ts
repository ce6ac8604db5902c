// The colour bar beside a picture.

import { cssOf } from './color';
import { h } from './dom';

export class Legend {
  readonly element = h('div', { class: 'legend' });
  private bar = h('canvas', { width: 254, height: 1, 'aria-hidden': 'true' });
  private low = h('span', null);
  private mid = h('span', null);
  private high = h('span', null);
  private swatch = h('i', null);
  private noneText = h('span', null);
  private nothing = h('span', { class: 'nothing' }, this.swatch, this.noneText);

  constructor() {
    this.element.append(
      h('div', { class: 'legend-bar' }, this.bar, h('div', { class: 'legend-scale' }, this.low, this.mid, this.high)),
      this.nothing,
    );
  }
  set(table: Uint32Array, low: string, mid: string, high: string, nothing: string | null): void {
    const image = new ImageData(254, 1);
    new Uint32Array(image.data.buffer).set(table.subarray(0, 254));
    this.bar.getContext('2d')!.putImageData(image, 0, 0);
    this.low.textContent = low;
    this.mid.textContent = mid;
    this.high.textContent = high;
    this.noneText.textContent = nothing ?? '';
    this.nothing.hidden = nothing === null;
    this.swatch.style.background = cssOf(table[255]!);
  }
}
