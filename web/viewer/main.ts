import './style.css';
import { onDrop } from './drop';
import type { Answer, Task } from './messages';
import { pageTemplate, showPage } from './page';
import { Screen } from './screen';
import TraceWorker from './worker?worker&inline';

// Traces of one name from several folders stay apart; the parts of a trace are found beside it.
function named(files: File[]): Task['files'] {
  const seen = new Map<string, number>();
  return files.map((file) => {
    const n = (seen.get(file.name) ?? 0) + 1;
    seen.set(file.name, n);
    return { name: n === 1 ? file.name : `${n}/${file.name}`, file };
  });
}

class Viewer {
  // Of the viewer's own document, which a page replaces.
  private template = pageTemplate();
  private code = document.getElementById('core')!.textContent!.trim();
  private screen = new Screen({ open: (files) => this.open(files), stop: () => this.stop() });
  private worker: Worker | null = null;

  constructor() {
    onDrop((files) => this.open(files));
  }

  // What is shown stays until there is something else to show.
  private open(files: File[]): void {
    if (files.length === 0) return;
    this.stop();
    this.screen.busy(files.map((f) => f.name));
    this.worker = new TraceWorker();
    this.worker.onmessage = (e: MessageEvent<Answer>) => this.answered(e.data);
    this.worker.onerror = (e) => this.answered({ kind: 'error', line: e.message || 'the reader stopped' });
    this.worker.postMessage({ code: this.code, files: named(files) } satisfies Task);
  }
  private stop(): void {
    this.worker?.terminate();
    this.worker = null;
    this.screen.idle();
  }
  private answered(answer: Answer): void {
    if (answer.kind === 'progress') return this.screen.progress(answer.stage, answer.share);
    this.stop();
    if (answer.kind === 'error') this.screen.failed(answer.line);
    else this.show(answer.data);
  }
  private show(data: string): void {
    this.screen.leave();
    showPage(this.template, data);
    this.screen.return();
    onDrop((files) => this.open(files));
  }
}

new Viewer();
