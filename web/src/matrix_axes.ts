// The axes beside a matrix, as SVG. Their elements stay, and change only where a tick does: making them anew would cost
// more than all the cells.

import { select as d3select } from 'd3-selection';
import { axisLeft, axisTop } from 'd3-axis';
import { scaleLinear } from 'd3-scale';
import { h } from './dom';
import type { Rect } from './raster';

export interface AxisOptions {
  xTitle: string;
  yTitle: string;
  rowLabel: (row: number) => string;
  colLabel: (col: number, row: number | null) => string;
  // A bar beside each row, 0 … 1, and a line in it.
  gutter?: { width: number; title: string; value: (row: number) => number; mark: (row: number) => number };
}

export class MatrixAxes {
  readonly element = h('svg', { class: 'axes', 'aria-hidden': 'true' }) as SVGSVGElement;
  private axes = d3select(this.element);
  private xAxis = this.axes.append('g');
  private yAxis = this.axes.append('g');
  private xTitle = this.axes.append('text').attr('class', 'axis-title').attr('y', 10).attr('text-anchor', 'end');
  private gutterTitle = this.axes.append('text').attr('class', 'axis-title').attr('y', 26).attr('text-anchor', 'end');
  private drawn = '';

  constructor(private options: AxisOptions) {
    this.xTitle.text(options.xTitle);
    this.axes.append('text').attr('class', 'axis-title').attr('x', 2).attr('y', 10).text(options.yTitle);
    this.gutterTitle.text(options.gutter?.title ?? '');
  }

  layout(width: number, height: number): void {
    this.element.setAttribute('width', String(width));
    this.element.setAttribute('height', String(height));
  }

  // view: the cells in view, of `cols` and `rows` in all; plot: where they lie.
  draw(view: Rect, plot: Rect, cols: number, rows: number, gutterWidth: number): void {
    const { options } = this;
    const x = scaleLinear([view.x - 0.5, view.x + view.width - 0.5], [plot.x, plot.x + plot.width]);
    const y = scaleLinear([view.y - 0.5, view.y + view.height - 0.5], [plot.y, plot.y + plot.height]);
    const whole = (scale: typeof x, n: number, most: number) =>
      scale.ticks(Math.min(n, most)).filter((t) => Number.isInteger(t) && t >= 0 && t < most);
    const colTicks = whole(x, Math.floor(plot.width / 44), cols);
    const rowTicks = whole(y, Math.floor(plot.height / 20), rows);
    const colLabels = colTicks.map((c) => options.colLabel(c, null));
    const rowLabels = rowTicks.map(options.rowLabel);
    const drawn = JSON.stringify([view, plot, colLabels, rowLabels]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const above = axisTop(x).tickValues(colTicks);
    const beside = axisLeft(y).tickValues(rowTicks);
    this.xAxis.attr('transform', `translate(0,${plot.y - 1})`).call(
      above
        .tickFormat((_, i) => colLabels[i]!)
        .tickSize(3)
        .tickPadding(3),
    );
    this.yAxis.attr('transform', `translate(${plot.x - 1},0)`).call(
      beside
        .tickFormat((_, i) => rowLabels[i]!)
        .tickSize(3)
        .tickPadding(3),
    );
    this.xTitle.attr('x', plot.x + plot.width);
    this.gutterTitle
      .attr('x', plot.x + plot.width + gutterWidth)
      .attr('visibility', gutterWidth < 60 ? 'hidden' : null);
  }
}
