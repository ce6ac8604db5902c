// How the two pictures of the memory view show an entry of the model file.

// What a column of pixels shows that several entries share.
export type Pooling = 'maximum' | 'mean';

export interface EntryLook {
  quiet: string; // colours: of names, of outlines, of the entry in focus
  mark: string;
  ink: string;
  colorOf: (entry: number) => string;
  rankOf: (entry: number) => number; // of several entries in one column of pixels, the highest is shown
  meanColorOf: ((from: number, to: number) => string) | null; // of entries [from, to); null: the highest rank shows
  shown: (entry: number) => boolean; // passes the filters
  lit: ReadonlySet<number>; // read by the selected token
  selected: ReadonlySet<number>;
  focus: number | null;
}

export const opacityOf = (look: EntryLook, entry: number): number => (look.shown(entry) ? 1 : 0.12);
