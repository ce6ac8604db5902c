// What the button "?" opens: the keys, and the words of the page.

import { h } from './dom';
import { glossary } from './glossary';
import { keyList } from './keys';

function entries(list: [term: Node | string, what: string][]): HTMLElement {
  return h('dl', { class: 'entries' }, ...list.flatMap(([term, what]) => [h('dt', null, term), h('dd', null, what)]));
}

// A dialog that a click beside it closes.
function dialog(name: string, ...content: Node[]): HTMLDialogElement {
  const close = h('form', { method: 'dialog' }, h('button', { class: 'button' }, 'Close'));
  const d = h('dialog', { class: 'help', 'aria-label': name }, h('div', { class: 'help-content' }, ...content), close);
  d.addEventListener('click', (e) => {
    if (e.target === d) d.close();
  });
  return d;
}

export function helpDialog(): HTMLDialogElement {
  return dialog(
    'Words and keys',
    h('h2', null, 'Words'),
    entries(glossary),
    h('h2', null, 'Keys'),
    entries(keyList.map(([key, what]) => [h('kbd', null, key), what])),
  );
}

// The texts that came with the page (scripts/install-page.mjs).
export function licencesDialog(): HTMLDialogElement {
  const text = document.getElementById('licences')?.textContent ?? '';
  return dialog('Licences', h('h2', null, 'Licences'), h('pre', { class: 'licences' }, text.trim()));
}
