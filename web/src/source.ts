// Where data comes from: the element inside a report, or the server that sent the page.

import { fromBase64, readBundle, type Numbers } from './bundle';
import type { Cache, Page, Prompts, Tile } from './contract';

export interface DataSource {
  readonly served: boolean;
  page(): Promise<Page>;
  // The page when it is no longer as it was at this progress, else null.
  newer(progress: number): Promise<Page | null>;
  // Tokens [first, first + count) of a run, by its number.
  tile(run: number, first: number, count: number): Promise<Tile>;
  pairs(run: number, block: number): Promise<Numbers | null>;
  prompts(run: number): Promise<Prompts | null>; // so far
  // Simulated caches of at least so many tokens; null: not yet.
  caches(run: number, tokens: number): Promise<Cache | null>;
}

class Embedded implements DataSource {
  readonly served = false;
  private loaded: Promise<Page>;
  constructor(text: string) {
    this.loaded = readBundle<Page>(fromBase64(text));
  }
  page(): Promise<Page> {
    return this.loaded;
  }
  async newer(): Promise<null> {
    return null;
  }
  async tile(run: number): Promise<Tile> {
    return (await this.loaded).runs.find((r) => r.number === run)!.tile;
  }
  async pairs(): Promise<null> {
    return null;
  }
  async prompts(run: number): Promise<Prompts | null> {
    return (await this.loaded).runs.find((r) => r.number === run)!.prompts;
  }
  async caches(run: number): Promise<Cache | null> {
    return (await this.loaded).runs.find((r) => r.number === run)!.cache;
  }
}

class Served implements DataSource {
  readonly served = true;
  private async get<T>(path: string): Promise<T | null> {
    const answer = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(30000) });
    if (answer.status === 204) return null;
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    return readBundle<T>(new Uint8Array(await answer.arrayBuffer()));
  }
  async page(): Promise<Page> {
    return (await this.get<Page>('data'))!;
  }
  newer(progress: number): Promise<Page | null> {
    return this.get<Page>(`data?since=${progress}`);
  }
  async tile(run: number, first: number, count: number): Promise<Tile> {
    return (await this.get<Tile>(`tokens?run=${run}&first=${first}&count=${count}`))!;
  }
  async pairs(run: number, block: number): Promise<Numbers | null> {
    return (await this.get<{ count: Numbers | null }>(`pairs?run=${run}&block=${block}`))!.count;
  }
  async prompts(run: number): Promise<Prompts | null> {
    return (await this.get<{ prompts: Prompts | null }>(`prompts?run=${run}`))!.prompts;
  }
  async caches(run: number, tokens: number): Promise<Cache | null> {
    return (await this.get<{ cache: Cache }>(`caches?run=${run}&tokens=${tokens}`))?.cache ?? null;
  }
}

export function openSource(): DataSource {
  const element = document.getElementById('data')!;
  const text = element.textContent ?? '';
  element.textContent = ''; // megabytes of text that nobody needs twice
  return text.length > 0 ? new Embedded(text) : new Served();
}
