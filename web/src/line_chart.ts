// The frame of a chart of curves: its axes, a grid across it, what they measure.

import { axisBottom, axisLeft } from 'd3-axis';
import type { ScaleContinuousNumeric } from 'd3-scale';
import { select as d3select, type Selection } from 'd3-selection';
import { h } from './dom';
import { roomFor } from './end_labels';

export type Scale = ScaleContinuousNumeric<number, number>;
export type Chart = Selection<SVGSVGElement, unknown, null, undefined>;

export interface Frame {
  width: number;
  height: number;
  left: number; // of the plot
  right: number; // the names of curves stand beyond it
  top: number;
  bottom: number;
}

export const newChart = (label: string) =>
  h('svg', { class: 'chart', role: 'img', 'aria-label': label }) as SVGSVGElement;

// Of the element around the chart; null while it is out of sight.
export function frameIn(svg: SVGSVGElement, curves: string[], height: number): Frame | null {
  const width = svg.parentElement!.clientWidth;
  if (width <= 0) return null;
  const tall = width < 500 ? Math.round(height * 0.78) : height;
  return { width, height: tall, left: 50, right: width - roomFor(curves, width), top: 22, bottom: tall - 36 };
}

// Empties the chart and draws its frame. x, y: d3 formats of the ticks.
export function drawFrame(
  svg: SVGSVGElement,
  at: Frame,
  x: { scale: Scale; format?: string; ticks: number; title: string },
  y: { scale: Scale; format: string; title: string },
): Chart {
  const s = d3select(svg);
  s.attr('width', at.width).attr('height', at.height).attr('viewBox', `0 0 ${at.width} ${at.height}`);
  s.selectAll('*').remove();
  s.append('g')
    .attr('transform', `translate(0,${at.bottom})`)
    .call(
      axisBottom(x.scale)
        .ticks(Math.min(x.ticks, at.width / 60), x.format)
        .tickSizeOuter(0),
    );
  s.append('g')
    .attr('class', 'grid')
    .attr('transform', `translate(${at.left},0)`)
    .call(
      axisLeft(y.scale)
        .ticks(5, y.format)
        .tickSize(-(at.right - at.left)),
    )
    .select('.domain')
    .remove();
  s.append('text')
    .attr('class', 'axis-title')
    .attr('x', at.right)
    .attr('y', at.height - 4)
    .attr('text-anchor', 'end')
    .text(x.title);
  s.append('text').attr('class', 'axis-title').attr('x', 0).attr('y', 10).text(y.title);
  return s;
}

// A line from top to bottom: what the tables beside the chart are about.
export function drawCursor(s: Chart, at: Frame, x: number): void {
  s.append('line').attr('class', 'cursor').attr('x1', x).attr('x2', x).attr('y1', at.top).attr('y2', at.bottom);
}
