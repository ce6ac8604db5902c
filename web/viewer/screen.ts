// What the viewer shows of itself (index.html has the elements): where to drop a trace, how far it is, and what was wrong.
// Before the first page it fills the window; above a page it is a bar.

import type { Stage } from './messages';
import { unpack } from './unpack';

const stages: Record<Stage, string> = {
  copy: 'Opening',
  read: 'Reading',
  simulate: 'Simulating caches for',
};

export interface Actions {
  open(files: File[]): void;
  stop(): void;
}

export class Screen {
  private root = document.querySelector<HTMLElement>('.viewer')!;
  private style = document.querySelector('style')!;
  private said = this.find('.viewer-said');
  private error = this.find('.viewer-error');
  private bar = this.find<HTMLProgressElement>('progress');
  private input = this.find<HTMLInputElement>('input');
  private names = '';

  constructor(actions: Actions) {
    this.input.addEventListener('change', () => {
      actions.open([...(this.input.files ?? [])]);
      this.input.value = ''; // so that the same file can be chosen again
    });
    this.find('.viewer-stop').addEventListener('click', () => actions.stop());
    this.find('.viewer-licences').addEventListener('toggle', () => void this.showLicences(), { once: true });
  }

  busy(names: string[]): void {
    this.names = names.length <= 2 ? names.join(' and ') : `${names.length} files`;
    this.error.hidden = true;
    this.root.classList.add('busy');
    this.progress('copy', 0);
  }
  progress(stage: Stage, share: number): void {
    const text = `${stages[stage]} ${this.names} …`;
    if (this.said.textContent !== text) this.said.textContent = text; // spoken once
    this.bar.value = share;
  }
  idle(): void {
    this.said.textContent = '';
    this.root.classList.remove('busy');
  }
  failed(line: string): void {
    this.error.textContent = line;
    this.error.hidden = false;
  }

  // Before the document is replaced, which would erase the listeners of everything in it.
  leave(): void {
    this.root.remove();
    this.style.remove();
  }
  // Above what the document shows now.
  return(): void {
    document.head.append(this.style);
    document.body.prepend(this.root);
  }

  // Of what the core is made of; the page shows its own.
  private async showLicences(): Promise<void> {
    const packed = document.getElementById('core-licences')!.textContent!.trim();
    this.find('.viewer-licences pre').textContent = new TextDecoder().decode(await unpack(packed));
  }

  private find<E extends HTMLElement>(selector: string): E {
    return this.root.querySelector<E>(selector)!;
  }
}
