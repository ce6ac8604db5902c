// The names of curves, each where its curve ends.

import type { Selection } from 'd3-selection';

export interface CurveEnd {
  name: string;
  y: number; // where the curve ends
  before?: number; // where it comes from: the order of names whose curves meet
  color: string;
}

const apart = 13; // pixels between the middles of two names

// The room that names need to the right of a chart.
export function roomFor(names: string[], width: number): number {
  return Math.min(width * 0.3, 14 + 6.3 * Math.max(0, ...names.map((n) => n.length)));
}

// Heights at least `apart` from each other, as near to the wanted ones as a pass down and one up bring them, between top and
// bottom where they all fit.
export function spread(wanted: number[], top: number, bottom: number): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a]! - wanted[b]!);
  const at = [...wanted];
  order.forEach((i, rank) => {
    const above = rank === 0 ? top : at[order[rank - 1]!]! + apart;
    at[i] = Math.max(wanted[i]!, above);
  });
  order.reverse().forEach((i, rank) => {
    const below = rank === 0 ? bottom : at[order[rank - 1]!]! - apart;
    at[i] = Math.min(at[i]!, below);
  });
  return at;
}

export function drawEnds<E extends Element>(
  svg: Selection<E, unknown, null, undefined>,
  ends: CurveEnd[],
  x: number,
  top: number,
  bottom: number,
): void {
  const known = ends.filter((e) => Number.isFinite(e.y)).sort((a, b) => a.y - b.y || (a.before ?? 0) - (b.before ?? 0));
  const heights = spread(
    known.map((e) => e.y),
    top,
    bottom,
  );
  known.forEach((e, i) => {
    const moved = Math.abs(heights[i]! - e.y) > 3;
    if (moved)
      svg
        .append('path')
        .attr('class', 'leader')
        .attr('d', `M${x + 1},${e.y}L${x + 6},${heights[i]}`)
        .attr('stroke', e.color);
    svg
      .append('text')
      .attr('class', 'end-label')
      .attr('x', x + 8)
      .attr('y', heights[i]!)
      .attr('dy', '0.32em')
      .attr('fill', e.color)
      .text(e.name);
  });
}
