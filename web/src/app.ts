// What every view gets: the data, the selection, and the way to more data.

import type { Page, Run, Tile } from './contract';
import type { DataSource } from './source';
import type { Store, ViewName } from './state';

export interface App {
  page: Page;
  store: Store;
  source: DataSource;
  say(text: string): void; // for screen readers
  go(view: ViewName): void;
  tile(): Tile; // the tokens at hand, of the run in view
  setTile(tile: Tile | null): void;
}

export function runOf(app: App): Run {
  return app.page.runs[app.store.now.run]!;
}

// What a view shows, for a spreadsheet.
export interface Table {
  columns: string[];
  rows: (string | number)[][];
}

export interface View {
  readonly name: ViewName;
  readonly title: string;
  readonly element: HTMLElement;
  // Called when the view is in sight and something changed: `all` when it has just come into sight or has new data.
  update(changed: ReadonlySet<string> | 'all'): void;
  resize?(): void;
  table(): Table;
}
