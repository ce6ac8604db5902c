// The core in WebAssembly (web/viewer/core/): the code of `moescope report`, from the bytes of traces to those of a page. It
// asks for nothing of the system: what its C++ library names of it is answered with "there is none".

interface Exports {
  memory: WebAssembly.Memory;
  _initialize(): void;
  add_file(size: number): number;
  name_file(size: number): number;
  build_page(): number;
  result_data(): number;
  result_size(): number;
}

const noSystem = 52; // WASI's errno for a function that there is none of

export class Core {
  private constructor(private exports: Exports) {}

  // progress: how far a pass through a file's rows has come, 0 to 1; again: it is not the first one.
  static async load(code: BufferSource, progress: (share: number, again: number) => void): Promise<Core> {
    const module = await WebAssembly.compile(code);
    const imports: Record<string, Record<string, (...args: number[]) => unknown>> = {};
    for (const { module: from, name } of WebAssembly.Module.imports(module))
      (imports[from] ??= {})[name] = () => noSystem;
    imports.viewer = { progress };
    const instance = await WebAssembly.instantiate(module, imports);
    const core = new Core(instance.exports as unknown as Exports);
    core.exports._initialize();
    return core;
  }

  // Copies a file into the core. Throws where there is not enough memory for it.
  async add(name: string, file: Blob, progress: (share: number) => void): Promise<void> {
    const at = file.size < 2 ** 32 ? this.exports.add_file(file.size) >>> 0 : 0;
    if (at === 0 && file.size > 0) throw new Error(`${name}: the browser has not enough memory for this`);
    let written = 0;
    const reader = file.stream().getReader();
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
      this.bytes(at + written, chunk.value.length).set(chunk.value);
      written += chunk.value.length;
      progress(written / file.size);
    }
    const text = new TextEncoder().encode(name);
    this.bytes(this.exports.name_file(text.length), text.length).set(text);
  }

  // The data of the page of all files (src/report/bundle.hpp). Throws what is wrong with them, in one line.
  build(): Uint8Array<ArrayBuffer> {
    const built = this.exports.build_page();
    const result = this.bytes(this.exports.result_data(), this.exports.result_size());
    if (!built) throw new Error(new TextDecoder().decode(result));
    return result.slice();
  }

  private bytes(at: number, size: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.exports.memory.buffer as ArrayBuffer, at >>> 0, size >>> 0);
  }
}
