// What the window and its worker say to each other.

export interface Task {
  code: string; // the core, as the page carries it
  files: { name: string; file: Blob }[];
}

export type Stage = 'copy' | 'read' | 'simulate';

export type Answer =
  | { kind: 'progress'; stage: Stage; share: number }
  | { kind: 'page'; data: string } // base64, as a report carries it
  | { kind: 'error'; line: string };
