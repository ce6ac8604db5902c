// A reordered model as it was before `moescope reorder`.

import type { Memory } from './contract';

// The same file with each slice where it lay first: places keep their offsets, and get the expert that was there, with its
// accesses. Experts keep the numbers that they have now, so what is selected is still that expert.
const known = new WeakMap<Memory, Memory>();
export function inFirstOrder(m: Memory): Memory {
  let first = known.get(m);
  if (!first) known.set(m, (first = move(m)));
  return first;
}

function move(m: Memory): Memory {
  const idsOf = new Map(m.first_ids.map(({ layer, ids }) => [layer, ids]));
  const entryOf = new Map<string, number>(); // of an expert's slice now
  m.expert.forEach((e, i) => {
    if (e >= 0) entryOf.set(`${m.tensor[i]}/${e}`, i);
  });
  const from = Uint32Array.from(m.expert, (_, i) => i); // [place] the entry that lay there
  m.expert.forEach((e, i) => {
    const first = idsOf.get(m.layer[i]!)?.[e];
    const place = first === undefined ? undefined : entryOf.get(`${m.tensor[i]}/${first}`);
    if (place !== undefined) from[place] = i;
  });
  const moved = <T extends Int32Array | Float64Array>(values: T): T => {
    const out = values.slice() as T;
    from.forEach((entry, place) => {
      out[place] = values[entry]!;
    });
    return out;
  };
  return { ...m, expert: moved(m.expert), accesses: m.accesses.map(moved) };
}
