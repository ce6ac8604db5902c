// The curves of the damage view: divergence against the experts kept, a line per criterion, a panel for each text.

import { axisBottom, axisLeft } from 'd3-axis';
import { scaleLinear } from 'd3-scale';
import { select as d3select } from 'd3-selection';
import { line } from 'd3-shape';
import { categorical, type Theme } from '../color';
import type { Damage, DamageRow } from '../contract';
import { h } from '../dom';
import { drawEnds, roomFor } from '../end_labels';
import { largest } from '../scale';

const margin = { top: 24, bottom: 36, left: 50 };

// The rows of each criterion, the most experts kept first.
export function curvesOf(d: Damage): Map<string, DamageRow[]> {
  const curves = new Map<string, DamageRow[]>();
  for (const r of d.rows) {
    if (r.criterion !== '' && r.keep >= 0) curves.set(r.criterion, [...(curves.get(r.criterion) ?? []), r]);
  }
  for (const points of curves.values()) points.sort((a, b) => b.keep - a.keep);
  return curves;
}

// One panel. Set 0 is the whole text, set i the label i - 1. All panels of a page have the same `most`.
export function drawCurves(d: Damage, set: number, title: string, most: number, width: number, theme: Theme): Element {
  const curves = curvesOf(d);
  const height = 230;
  const least = Math.min(...[...curves.values()].flat().map((r) => r.keep));
  const right = width - roomFor([...curves.keys()], width);
  const x = scaleLinear([d.n_expert, Math.min(least, d.n_expert - 1)], [margin.left, right]);
  const y = scaleLinear([0, most], [height - margin.bottom, margin.top]).nice();
  const element = h('svg', { class: 'chart', role: 'img', 'aria-label': `Damage by experts kept: ${title}` });
  const svg = d3select(element);
  svg.attr('width', width).attr('height', height).attr('viewBox', `0 0 ${width} ${height}`);
  const keeps = [...new Set([d.n_expert, ...[...curves.values()].flat().map((r) => r.keep)])];
  svg
    .append('g')
    .attr('transform', `translate(0,${height - margin.bottom})`)
    .call(axisBottom(x).tickValues(keeps).tickFormat(String).tickSizeOuter(0));
  svg
    .append('g')
    .attr('class', 'grid')
    .attr('transform', `translate(${margin.left},0)`)
    .call(
      axisLeft(y)
        .ticks(4)
        .tickSize(-(right - margin.left)),
    )
    .select('.domain')
    .remove();
  svg.append('text').attr('class', 'axis-title').attr('x', 0).attr('y', 12).text(`${title}: KL, nats per token`);
  svg
    .append('text')
    .attr('class', 'axis-title')
    .attr('x', right)
    .attr('y', height - 4)
    .attr('text-anchor', 'end')
    .text(`experts kept, of ${d.n_expert}`);
  [...curves].forEach(([name, rows], i) => {
    const color = categorical(theme, i);
    const points: [number, number][] = [[x(d.n_expert), y(0)]]; // all experts kept: no damage
    for (const r of rows) points.push([x(r.keep), y(r.cells[set]![0] ?? 0)]);
    svg
      .append('path')
      .attr('class', 'curve')
      .attr('data-criterion', name)
      .attr('d', line()(points))
      .attr('stroke', color);
    for (const r of rows) {
      const [kl, low, high] = r.cells[set]!;
      if (kl === null) continue;
      svg.append('circle').attr('r', 3).attr('cx', x(r.keep)).attr('cy', y(kl)).attr('fill', color);
      if (low !== null && high !== null)
        svg
          .append('line')
          .attr('x1', x(r.keep))
          .attr('x2', x(r.keep))
          .attr('y1', y(low))
          .attr('y2', y(high))
          .attr('stroke', color);
    }
  });
  const ends = [...curves].map(([name, rows], i) => ({
    name,
    y: y(rows.at(-1)!.cells[set]![0] ?? NaN),
    color: categorical(theme, i),
  }));
  drawEnds(svg, ends, right, margin.top, height - margin.bottom);
  return element;
}

// The largest divergence of any curve, with its interval.
export function largestOf(d: Damage): number {
  const values = [...curvesOf(d).values()].flat().flatMap((r) => r.cells.map((c) => c[2] ?? c[0] ?? 0));
  return largest(values) || 1;
}
