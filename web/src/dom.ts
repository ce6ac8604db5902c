// Elements without a framework. Text always goes in as text: nothing here parses markup.

type Child = Node | string | null | false | undefined;
type Props = Record<string, string | number | boolean | null | undefined | ((event: never) => void)>;

const svgNames = new Set(['svg', 'g', 'path', 'line', 'rect', 'circle', 'text']);

// h('button', {class: 'x', onclick: f, 'aria-label': '…'}, 'text', child). Functions become listeners.
export function h<K extends keyof HTMLElementTagNameMap>(
  name: K,
  props?: Props | null,
  ...children: Child[]
): HTMLElementTagNameMap[K];
export function h(name: string, props?: Props | null, ...children: Child[]): Element;
export function h(name: string, props?: Props | null, ...children: Child[]): Element {
  const e = svgNames.has(name)
    ? document.createElementNS('http://www.w3.org/2000/svg', name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') e.addEventListener(key.slice(2), value as EventListener);
    else e.setAttribute(key, value === true ? '' : String(value));
  }
  for (const child of children) if (child) e.append(child);
  return e;
}

export function fill(parent: Element, ...children: Child[]): void {
  parent.replaceChildren(...(children.filter(Boolean) as (Node | string)[]));
}

export interface Option<T> {
  value: T;
  label: string;
  title?: string;
  disabled?: boolean;
}

// A row of buttons of which one is pressed.
export class Segments<T extends string | number> {
  readonly element: HTMLElement;
  private buttons = new Map<T, HTMLButtonElement>();

  constructor(
    label: string,
    private options: Option<T>[],
    private onpick: (value: T) => void,
  ) {
    this.element = h('div', { class: 'segments', role: 'group', 'aria-label': label });
    this.rebuild(options);
  }
  rebuild(options: Option<T>[]): void {
    // The same buttons stay, so that a live page does not take the focus away.
    if (this.buttons.size > 0 && JSON.stringify(options) === JSON.stringify(this.options)) return;
    this.options = options;
    this.buttons.clear();
    fill(
      this.element,
      ...this.options.map((o) => {
        const b = h(
          'button',
          {
            type: 'button',
            title: o.title,
            disabled: o.disabled,
            'data-value': String(o.value),
            onclick: () => this.onpick(o.value),
          },
          o.label,
        );
        this.buttons.set(o.value, b);
        return b;
      }),
    );
  }
  set(value: T): void {
    for (const [v, b] of this.buttons) b.setAttribute('aria-pressed', String(v === value));
  }
  // Brings the pressed button into view where the row is wider than the screen.
  reveal(value: T): void {
    const b = this.buttons.get(value)?.getBoundingClientRect();
    const row = this.element.getBoundingClientRect();
    if (b && (b.left < row.left || b.right > row.right))
      this.element.scrollLeft += b.left + b.width / 2 - (row.left + row.width / 2);
  }
}

export function select<T extends string | number>(
  label: string,
  options: Option<T>[],
  onpick: (value: T) => void,
): HTMLSelectElement {
  const e = h('select', { 'aria-label': label, onchange: () => onpick(options[e.selectedIndex]!.value) });
  for (const o of options) e.append(h('option', { value: String(o.value) }, o.label));
  return e;
}

export function field(label: string, control: Node): HTMLElement {
  return h('label', { class: 'field' }, h('span', null, label), control);
}

// A figure with its name above and a note below.
export function factTile(name: string, value: string, note: string): HTMLElement {
  return h('div', { class: 'fact-tile' }, h('span', null, name), h('b', null, value), h('small', null, note));
}

export function download(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  const a = h('a', { href: url, download: name });
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
