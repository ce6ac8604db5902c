// What stands above every view: the run's model, and its figures.

import { factTile, h } from '../dom';
import { bytes, compact, integer, plural, real } from '../format';
import { selectionsOf, widest } from '../model';
import type { Run } from '../contract';

export function headingOf(run: Run): HTMLElement[] {
  const m = run.model;
  const shape = [
    m.architecture,
    plural(run.blocks.length, 'MoE layer'),
    `${widest(run)} experts, ${m.n_expert_used || run.blocks[0]!.n_expert_used} per token`,
  ];
  return [
    h('h1', null, m.name || m.file || run.label),
    h('span', { class: 'quiet' }, shape.filter(Boolean).join(' · ')),
  ];
}

export function factsOf(run: Run): HTMLElement[] {
  const s = run.source;
  const sum = (list: number[]) => list.reduce((a, b) => a + b, 0);
  const experts = sum(run.blocks.map((b) => b.n_expert));
  const dead = sum(run.blocks.map((b) => b.dead));
  const selections = sum(run.blocks.map((b) => selectionsOf(run, b, 'all')));
  const even = run.blocks.filter((b) => b.entropy !== null).map((b) => b.entropy!);
  const phases = `${compact(run.tokens - run.decoded)} prompt, ${compact(run.decoded)} generated`;
  const program = [s.program, s.ended ? '' : 'not finished'].filter(Boolean).join(', ');
  return [
    factTile('tokens', compact(run.tokens), run.decoded > 0 ? phases : 'prompt only'),
    factTile('selections', compact(selections), `in ${compact(run.ubatches)} ubatches`),
    even.length > 0
      ? factTile('evenness', real(sum(even) / even.length), `${real(Math.min(...even))} in the least even layer`)
      : factTile('evenness', '–', 'mean over layers'),
    factTile('never selected', integer(dead), `of ${integer(experts)} experts`),
    factTile('trace', s.bytes > 0 ? bytes(s.bytes) : '–', program || s.format),
  ];
}
