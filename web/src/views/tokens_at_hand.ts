// The tokens that the page holds of the run in view, and which of them is selected.

import { runOf, type App } from '../app';
import type { Tile } from '../contract';
import { TileReader } from '../model';

export class TokensAtHand {
  private known: TileReader | null = null;

  constructor(private app: App) {}

  // Of the tile at hand; made anew when another one has come.
  get reader(): TileReader {
    const tile = this.app.tile();
    if (this.known?.tile !== tile) this.known = this.readerOf(tile);
    return this.known;
  }
  readerOf(tile: Tile): TileReader {
    return new TileReader(tile, runOf(this.app));
  }
  // The first one's number in the run.
  get first(): number {
    return this.app.tile().first;
  }
  // The selected token as an index into the tile; null if it is not among them.
  get selected(): number | null {
    const { token } = this.app.store.now;
    const tile = this.app.tile();
    return token === null || token < tile.first || token >= tile.first + tile.n ? null : token - tile.first;
  }
}
