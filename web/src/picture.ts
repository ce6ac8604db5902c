// A view as a picture: what is on the screen, painted once more. Controls stay out (the class `picture` hides them), what
// scrolls is shown whole. Everything is painted by hand, because browsers do not let a page photograph itself.

const mostPixels = 16000; // of a side, which every browser can do
const top = 46; // of the heading
const side = 16;

function clear(color: string): boolean {
  return color === 'transparent' || /^rgba\(.*, 0\)$|\/ 0\)$/.test(color);
}

class Painter {
  constructor(
    private ctx: CanvasRenderingContext2D,
    private left: number, // of the element, on the screen
    private above: number,
    private scale: number,
  ) {}

  element(e: Element): void {
    const style = getComputedStyle(e);
    if (style.display === 'none' || style.visibility === 'hidden' || e.classList.contains('sr-only')) return;
    const { ctx } = this;
    ctx.save();
    ctx.globalAlpha *= Number(style.opacity);
    if (e instanceof SVGSVGElement) {
      for (const child of e.children) this.shape(child);
    } else {
      this.box(e, style);
      if (e instanceof HTMLCanvasElement) this.canvas(e);
      for (const child of e.childNodes) {
        if (child instanceof Text) this.text(child, style);
        else if (child instanceof Element) this.element(child);
      }
    }
    ctx.restore();
  }

  private rect(e: Element | Range): DOMRect {
    const r = e.getBoundingClientRect();
    return new DOMRect(r.x - this.left, r.y - this.above, r.width, r.height);
  }

  // Its background, its lines, and the edge that its content does not cross.
  private box(e: Element, style: CSSStyleDeclaration): void {
    const { ctx } = this;
    const r = this.rect(e);
    if (r.width === 0 || r.height === 0) return;
    const round = new Path2D();
    // What stands within a line of text has a box on each line.
    for (const box of style.display === 'inline' ? e.getClientRects() : [e.getBoundingClientRect()]) {
      const radius = parseFloat(style.borderTopLeftRadius) || 0;
      round.roundRect(box.x - this.left, box.y - this.above, box.width, box.height, radius);
    }
    if (!clear(style.backgroundColor)) {
      ctx.fillStyle = style.backgroundColor;
      ctx.fill(round);
    }
    const lines = ['Top', 'Right', 'Bottom', 'Left'] as const;
    const widths = lines.map((l) => (style[`border${l}Style`] === 'none' ? 0 : parseFloat(style[`border${l}Width`])));
    if (widths.every((w) => w > 0)) {
      ctx.strokeStyle = style.borderTopColor;
      ctx.lineWidth = widths[0]!;
      ctx.stroke(round);
    } else if (widths[2]! > 0) {
      ctx.fillStyle = style.borderBottomColor;
      ctx.fillRect(r.x, r.y + r.height - widths[2]!, r.width, widths[2]!);
    }
    if (style.overflowX !== 'visible') ctx.clip(round);
  }
  private canvas(e: HTMLCanvasElement): void {
    const r = this.rect(e);
    if (e.width > 0 && e.height > 0) this.ctx.drawImage(e, r.x, r.y, r.width, r.height);
  }

  // Word by word, each where the browser has put it.
  private text(node: Text, style: CSSStyleDeclaration): void {
    const { ctx } = this;
    ctx.font = `${style.fontStyle} ${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    ctx.fillStyle = style.color;
    ctx.textBaseline = 'alphabetic';
    ctx.textAlign = 'left';
    const range = document.createRange();
    for (const word of node.data.matchAll(/\S+/g)) {
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const r = this.rect(range);
      if (r.width === 0) continue;
      const { fontBoundingBoxAscent: up, fontBoundingBoxDescent: down } = ctx.measureText(word[0]);
      ctx.fillText(word[0], r.x, r.y + (r.height * up) / (up + down), r.width);
    }
  }

  // An element of a chart.
  private shape(e: Element): void {
    const style = getComputedStyle(e);
    if (style.display === 'none' || style.visibility === 'hidden') return;
    const { ctx, scale } = this;
    ctx.save();
    ctx.globalAlpha *= Number(style.opacity);
    if (e instanceof SVGGElement) for (const child of e.children) this.shape(child);
    else if (e instanceof SVGGraphicsElement) {
      const m = e.getScreenCTM()!;
      ctx.setTransform(scale, 0, 0, scale, (side - this.left) * scale, (top - this.above) * scale);
      ctx.transform(m.a, m.b, m.c, m.d, m.e, m.f);
      if (e instanceof SVGTextElement) this.label(e, style);
      else this.line(pathOf(e), style);
    }
    ctx.restore();
  }
  private label(e: SVGTextElement, style: CSSStyleDeclaration): void {
    const { ctx } = this;
    if (!e.textContent) return;
    const at = e.getStartPositionOfChar(0);
    ctx.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    ctx.fillStyle = style.fill;
    ctx.textBaseline = 'alphabetic';
    ctx.textAlign = 'left';
    ctx.fillText(e.textContent, at.x, at.y);
  }
  private line(path: Path2D, style: CSSStyleDeclaration): void {
    const { ctx } = this;
    if (style.fill !== 'none') {
      ctx.fillStyle = style.fill;
      ctx.fill(path);
    }
    if (style.stroke === 'none') return;
    ctx.strokeStyle = style.stroke;
    ctx.lineWidth = parseFloat(style.strokeWidth);
    ctx.lineJoin = style.strokeLinejoin as CanvasLineJoin;
    ctx.setLineDash(style.strokeDasharray === 'none' ? [] : style.strokeDasharray.split(/[ ,]+/).map(parseFloat));
    ctx.stroke(path);
  }
}

function pathOf(e: SVGGraphicsElement): Path2D {
  const at = (name: string) => Number(e.getAttribute(name) ?? 0);
  if (e instanceof SVGPathElement) return new Path2D(e.getAttribute('d') ?? '');
  const path = new Path2D();
  if (e instanceof SVGRectElement) path.rect(at('x'), at('y'), at('width'), at('height'));
  if (e instanceof SVGCircleElement) path.arc(at('cx'), at('cy'), at('r'), 0, 2 * Math.PI);
  if (e instanceof SVGLineElement) {
    path.moveTo(at('x1'), at('y1'));
    path.lineTo(at('x2'), at('y2'));
  }
  return path;
}

// `title` and `about` stand above it.
export function paint(element: HTMLElement, title: string, about: string): HTMLCanvasElement {
  element.classList.add('picture');
  const r = element.getBoundingClientRect();
  const width = r.width + 2 * side;
  const height = r.height + top + side;
  const scale = Math.min(2, mostPixels / Math.max(width, height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const ctx = canvas.getContext('2d')!;
  const page = getComputedStyle(document.documentElement);
  ctx.scale(scale, scale);
  ctx.fillStyle = page.backgroundColor;
  ctx.fillRect(0, 0, width, height);
  ctx.textBaseline = 'alphabetic';
  ctx.fillStyle = page.color;
  ctx.font = '650 16px ' + page.fontFamily;
  ctx.fillText(title, side, 28);
  const after = side + ctx.measureText(title).width + 12;
  ctx.fillStyle = page.getPropertyValue('--quiet');
  ctx.font = '13px ' + page.fontFamily;
  ctx.fillText(about, after, 28, Math.max(1, width - after - side));
  ctx.translate(side, top);
  new Painter(ctx, r.x, r.y, scale).element(element);
  element.classList.remove('picture');
  return canvas;
}
