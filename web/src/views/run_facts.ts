// What stands above every view: the run's model, and its figures.

import { factTile, h } from '../dom';
import { bytes, compact, integer, plural } from '../format';
import { chanceOf, isProfile, selectionsOf, sum, widest } from '../model';
import type { Run } from '../contract';

export function headingOf(run: Run, live: boolean): HTMLElement[] {
  const incomplete = incompleteness(run, live);
  const m = run.model;
  const shape = [
    m.architecture,
    plural(run.blocks.length, 'MoE layer'),
    `${widest(run)} experts, ${m.n_expert_used || run.blocks[0]!.n_expert_used} per token`,
  ];
  return [
    h('h1', null, m.name || m.file || run.label),
    h('span', { class: 'quiet' }, shape.filter(Boolean).join(' · ')),
    ...(incomplete ? [h('span', { class: 'incomplete', title: incomplete }, 'incomplete: ' + incomplete)] : []),
  ];
}

// Why a trace is not whole; '': it is, or grows before our eyes.
export function incompleteness(run: Run, live: boolean): string {
  const s = run.source;
  if (s.format !== 'moetrace' || live) return '';
  if (s.lost_bytes > 0) return `the file was cut, ${plural(s.lost_bytes, 'byte')} at its end are not shown`;
  return s.ended ? '' : 'the program was killed, or still runs';
}

export function factsOf(run: Run): HTMLElement[] {
  const s = run.source;
  const experts = sum(run.blocks.map((b) => b.n_expert));
  const dead = sum(run.blocks.map((b) => b.dead));
  const selections = sum(run.blocks.map((b) => selectionsOf(run, b, 'all')));
  const measured = run.blocks.filter((b) => b.entropy !== null);
  const even = measured.map((b) => b.entropy!);
  const chance = sum(measured.map((b) => chanceOf(b).entropy)) / measured.length;
  const deadByChance = sum(measured.map((b) => chanceOf(b).dead));
  const phases = `${compact(run.tokens - run.decoded)} prompt, ${compact(run.decoded)} generated`;
  return [
    factTile('tokens', compact(run.tokens), isProfile(run) ? 'of a corpus' : run.decoded > 0 ? phases : 'prompt only'),
    factTile(
      'selections',
      compact(selections),
      isProfile(run) ? 'summed up by expert' : `in ${compact(run.ubatches)} ubatches`,
    ),
    even.length > 0
      ? factTile('evenness', (sum(even) / even.length).toFixed(3), byChance(chance.toFixed(3), chance))
      : factTile('evenness', '–', 'mean over layers'),
    factTile(
      'never selected',
      integer(dead),
      `of ${compact(experts)}; ${byChance(deadByChance.toFixed(1), deadByChance)}`,
    ),
    factTile(isProfile(run) ? 'profile' : 'trace', s.bytes > 0 ? bytes(s.bytes) : '–', s.program || s.format),
  ];
}

const byChance = (text: string, v: number): string => (Number.isNaN(v) ? '' : `random routing: ${text}`);
