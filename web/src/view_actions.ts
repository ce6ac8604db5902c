// What can be done with any view: copy a link to it, take it away as a picture or as a table.

import { runOf, type App, type View } from './app';
import { download, h } from './dom';
import { csv } from './format';
import { blockName } from './model';
import { toHash } from './permalink';
import { paint } from './picture';

async function toClipboard(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Where the page comes over plain http from another machine, browsers have only the old way.
  const box = h('textarea', { class: 'sr-only' });
  box.value = text;
  document.body.append(box);
  box.select();
  const copied = document.execCommand('copy');
  box.remove();
  if (!copied) throw new Error('the browser does not let this page copy');
}

export class ViewActions {
  readonly element: HTMLElement;
  private link: HTMLButtonElement;

  constructor(
    private app: App,
    private inSight: () => View,
  ) {
    const button = (label: string, title: string, onclick: () => void) =>
      h('button', { type: 'button', class: 'button', title, onclick }, label);
    this.link = button(
      'Copy link',
      'The address of exactly this view, with all that is selected',
      () => void this.copy(),
    );
    this.element = h(
      'div',
      { class: 'view-actions' },
      this.link,
      button('PNG', 'Download this view as a picture', () => this.savePicture()),
      button('CSV', 'Download what this view shows as a table', () => this.saveTable()),
    );
  }

  address(): string {
    return location.href.replace(/#.*$/s, '') + toHash(this.app.store.now, this.app.page);
  }

  async copy(): Promise<void> {
    let said = 'Copied';
    try {
      await toClipboard(this.address());
    } catch {
      said = 'Not copied';
    }
    this.app.say(said);
    this.link.textContent = said;
    setTimeout(() => (this.link.textContent = 'Copy link'), 1500);
  }
  private fileName(ending: string): string {
    const name = `${runOf(this.app).label}-${this.inSight().name}`;
    return name.replace(/[^\p{L}\p{N}._-]+/gu, '_') + ending;
  }
  private savePicture(): void {
    const { block, expert } = this.app.store.now;
    const run = runOf(this.app);
    const view = this.inSight();
    const where = blockName(run.blocks[block]!) + (expert === null ? '' : `, expert ${expert}`);
    const about = [run.model.name || run.model.file, run.label, where].filter(Boolean).join(' · ');
    paint(view.element, view.title, about).toBlob((blob) => blob && download(this.fileName('.png'), blob));
  }
  private saveTable(): void {
    const { columns, rows } = this.inSight().table();
    download(this.fileName('.csv'), new Blob([csv([columns, ...rows])], { type: 'text/csv' }));
  }
}
