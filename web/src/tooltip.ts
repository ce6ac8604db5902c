// One tooltip for the whole page. Rows are [name, value] pairs, set as text.

import { fill, h } from './dom';

const box = h('div', { class: 'tooltip', role: 'status', hidden: true });

export type TipRows = [name: string, value: string][];

export function mountTooltip(): void {
  document.body.append(box);
}
export function showTip(event: { clientX: number; clientY: number }, title: string, rows: TipRows): void {
  fill(box, h('strong', null, title), h('dl', null, ...rows.flatMap(([k, v]) => [h('dt', null, k), h('dd', null, v)])));
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  const x = event.clientX + 16 + width > innerWidth ? event.clientX - width - 12 : event.clientX + 16;
  const y = event.clientY + 16 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 16;
  box.style.transform = `translate(${Math.max(4, x)}px, ${Math.max(4, y)}px)`;
}
export function hideTip(): void {
  box.hidden = true;
}
