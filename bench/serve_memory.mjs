// What `moescope serve` holds in memory of a trace that does not fit there: makes one of 20 million tokens (about 2 GB
// in the temporary folder; half of them decoded one by one), serves it, asks for the page's data and for tiles all over
// it, and prints the server's peak. `node bench/serve_memory.mjs 1000000` makes a shorter one.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeTrace, moescope } from '../tests/web/support.mjs';

const tokens = Number(process.argv[2] ?? 20_000_000);
const tile = 4096;
const tiles = 200;
const dir = mkdtempSync(join(tmpdir(), 'moescope-bench-'));
const ask = async (url) => {
  const begin = performance.now();
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} gets ${answer.status}`);
  const bytes = Buffer.from(await answer.arrayBuffer());
  return {
    document: JSON.parse(bytes.subarray(12, 12 + bytes.readUInt32LE(8)).toString()),
    ms: performance.now() - begin,
  };
};
const memory = (pid, name) =>
  Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;

let child;
try {
  const trace = join(dir, 'long.moetrace');
  const half = String(tokens / 2);
  execFileSync(makeTrace, [
    '--out',
    trace,
    '--layers',
    '4',
    '--experts',
    '16',
    '--used',
    '2',
    '--ubatch',
    '512',
    '--flat',
    '--prompt',
    half,
    '--decode',
    half,
  ]);
  child = spawn(moescope, ['serve', trace], { stdio: ['ignore', 'pipe', 'ignore'] });
  const url = await new Promise((done) => child.stdout.once('data', (d) => done(String(d).trim())));
  const begin = performance.now();
  let most = 0;
  let now;
  do {
    // while it reads, as a page that is open would
    now = await ask(url + 'data');
    most = Math.max(most, memory(child.pid, 'RssAnon'));
    await new Promise((done) => setTimeout(done, 500));
  } while (now.document.live || now.document.runs[0]?.tokens !== tokens);
  const read_s = (performance.now() - begin) / 1000;
  const times = [];
  for (let i = 0; i < tiles; i++) {
    const first = Math.floor((tokens - tile) * ((i * 0.6180339887) % 1));
    const t = await ask(`${url}tokens?run=0&first=${first}&count=${tile}`);
    if (t.document.first !== first || t.document.n !== tile) throw new Error('not the tile that was asked for');
    times.push(t.ms);
    most = Math.max(most, memory(child.pid, 'RssAnon'));
  }
  times.sort((a, b) => a - b);
  const mib = (field) => memory(child.pid, field).toFixed(0);
  const size = (statSync(trace).size / 1e9).toFixed(2);
  const seconds = read_s.toFixed(0);
  console.log(
    `trace: ${tokens.toLocaleString('en')} tokens, ${size} GB; read through in ${seconds} s while it was served`,
  );
  console.log(
    `server: peak resident ${mib('VmHWM')} MiB with the pages of the file that the kernel lends it, ` +
      `${most.toFixed(0)} MiB of its own`,
  );
  const median = times[tiles >> 1].toFixed(0);
  console.log(`tiles of ${tile} tokens: median ${median} ms, slowest ${times.at(-1).toFixed(0)} ms of ${tiles}`);
} finally {
  child?.kill('SIGINT');
  rmSync(dir, { recursive: true, force: true });
}
