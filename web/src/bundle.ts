// Reads the container that src/report/bundle.hpp describes.

export type Numbers = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float32Array | Float64Array;

const types = {
  u8: Uint8Array,
  u16: Uint16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
} as const;

interface ArrayEntry {
  type: keyof typeof types;
  offset: number;
  length: number;
}

async function inflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Replaces every {"@": i} in the document by array i.
function resolve(value: unknown, arrays: Numbers[]): unknown {
  if (Array.isArray(value)) return value.map((v) => resolve(v, arrays));
  if (value === null || typeof value !== 'object') return value;
  const object = value as Record<string, unknown>;
  if (typeof object['@'] === 'number') return arrays[object['@']];
  return Object.fromEntries(Object.entries(object).map(([k, v]) => [k, resolve(v, arrays)]));
}

export async function readBundle<T>(bytes: Uint8Array<ArrayBuffer>): Promise<T> {
  const magic = new TextDecoder().decode(bytes.subarray(0, 8));
  if (magic !== 'MOEPAGE0' && magic !== 'MOEPAGEZ') throw new Error('this is not data of a moescope page');
  const body = magic === 'MOEPAGEZ' ? await inflate(bytes.subarray(8)) : bytes.slice(8);
  const length = new DataView(body.buffer).getUint32(0, true);
  const document = JSON.parse(new TextDecoder().decode(body.subarray(4, 4 + length))) as { arrays: ArrayEntry[] };
  const arrays = document.arrays.map((a) => new types[a.type](body.buffer, 4 + length + a.offset, a.length));
  return resolve(document, arrays) as T;
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
