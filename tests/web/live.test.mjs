// llama-server under `moescope record --live=0`: four requests at once, two browsers, and a crowd of slow clients that
// look on. The server runs at a low priority, so that on busy cores the browsers wait for nobody. What is asserted depends
// on no clock, only that it happens.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { closeBrowser, moescope, open, temporaryFolder } from './support.mjs';

after(closeBrowser);

const root = join(import.meta.dirname, '..', '..');
const model = process.env.MOESCOPE_TEST_MODEL ?? join(root, 'models', 'demo.gguf');
const server = join(process.env.LLAMA_CPP_BIN ?? '', 'llama-server');
const missing = !existsSync(model)
  ? 'needs models/demo.gguf'
  : !existsSync(server)
    ? 'needs llama-server in LLAMA_CPP_BIN'
    : false;
const n_predict = 60;

const freePort = () =>
  new Promise((done) => {
    const s = createServer().listen(0, '127.0.0.1', () => {
      const { port } = s.address();
      s.close(() => done(port));
    });
  });
const until = async (what, name, seconds = 180) => {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const v = await what().catch(() => null);
    if (v) return v;
    assert.ok(Date.now() < end, `${name} did not happen within ${seconds} s`);
    await new Promise((r) => setTimeout(r, 100));
  }
};

// The server, recorded. Says when it can be asked and where its page is.
async function recordedServer(t, trace) {
  const port = await freePort();
  const child = spawn(
    'nice',
    [
      '-n',
      '10',
      moescope,
      'record',
      '--live=0',
      '-o',
      trace,
      '--',
      server,
      '-m',
      model,
      '--port',
      String(port),
      '-np',
      '4',
      '-t',
      '1',
      '--no-webui',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const ended = new Promise((done) => child.once('exit', done));
  t.after(() => {
    if (child.exitCode === null) child.kill('SIGKILL');
  });
  let log = '';
  child.stderr.on('data', (d) => {
    log += d;
  });
  const url = await until(async () => /live: (http:\S+)/.exec(log)?.[1], 'the address of the page');
  await until(async () => (await fetch(`http://127.0.0.1:${port}/health`)).ok, 'llama-server');
  return { url, port, child, ended };
}

// Four clients that ask again and again until they are told to stop, so that there is always something to see.
function fourClients(port) {
  let asking = true;
  const clients = ['def add(a, b):', 'What is 12 + 30?', 'The old harbour', 'Once upon a time'].map(async (prompt) => {
    let answered = 0;
    while (asking) {
      const answer = await fetch(`http://127.0.0.1:${port}/completion`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ prompt, n_predict, ignore_eos: true }),
      });
      answered += (await answer.json()).tokens_predicted === n_predict ? 1 : 0;
    }
    return answered;
  });
  return async () => {
    asking = false;
    return Promise.all(clients);
  };
}

// Half of them begin a request and never end it; the others ask for everything and read nothing.
function slowClients(t, url, n) {
  const { port, pathname } = new URL(url);
  const sockets = Array.from({ length: n }, (_, i) => {
    const s = connect(Number(port), '127.0.0.1', () =>
      s.write(`GET ${pathname}data HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n` + (i % 2 ? '\r\n' : '')),
    );
    s.on('error', () => {});
    s.pause();
    return s;
  });
  t.after(() => sockets.forEach((s) => s.destroy()));
}

// Selections per layer and expert of the first n tokens, from the finished trace.
function countsOfFirst(trace, n) {
  const lines = execFileSync(moescope, ['export', trace, '-f', 'jsonl', '-o', '-'], {
    encoding: 'utf8',
    maxBuffer: 1 << 30,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
    .trim()
    .split('\n')
    .map((l) => JSON.parse(l));
  const tokens = new Map();
  const counts = new Map(); // "ubatch:row" -> number
  for (const l of lines) {
    if (l.row === undefined || !l.ids) continue;
    const key = `${l.batch}:${l.ubatch}:${l.row}`;
    if (!tokens.has(key)) tokens.set(key, tokens.size);
    if (tokens.get(key) >= n) continue;
    for (const e of l.ids) counts.set(`${l.layer}:${e}`, (counts.get(`${l.layer}:${e}`) ?? 0) + 1);
  }
  return counts;
}

test(
  'counts, the newest token and its slices move while llama-server answers four requests',
  { skip: missing },
  async (t) => {
    const trace = join(temporaryFolder(t), 'live.moetrace');
    const { url, port, child, ended } = await recordedServer(t, trace);
    const stop = fourClients(port);
    slowClients(t, url, 24);
    const pages = [await open(t, url, { timeout: 180000 }), await open(t, url, { view: 'memory', timeout: 180000 })];
    assert.equal(await pages[0].isVisible('.incomplete'), false, 'a run that grows is not called incomplete');
    const tokens = (p) => p.evaluate(() => window.moescope.page.runs[0].tokens);
    for (const p of pages) {
      const before = await tokens(p);
      await until(async () => (await tokens(p)) > before + 40, 'growth of the counts');
      assert.ok(
        await p.evaluate(() => {
          const { page, store } = window.moescope;
          const r = page.runs[0];
          return store.now.token === r.tile.first + r.tile.n - 1;
        }),
        'the newest token is in view',
      );
    }
    // The model is the one that the trace names. The slices of the newest token's ubatch light up, and they move.
    const [, second] = pages;
    await until(async () => second.evaluate(() => window.moescope.page.memory !== null), 'the memory view');
    await second.evaluate(() => window.moescope.store.set({ view: 'memory' }));
    const lit = () =>
      second.evaluate(() =>
        window.moescope
          .view('memory')
          .slicesLit()
          .sort((a, b) => a - b)
          .join(),
      );
    const now = await until(lit, 'slices that light up');
    await until(async () => (await lit()) !== now, 'other slices lighting up');

    const answered = await stop();
    assert.ok(
      answered.every((n) => n > 0),
      `each client was answered: ${answered}`,
    );
    const seen = await Promise.all(
      pages.map((p) =>
        p.evaluate(() => {
          const r = window.moescope.page.runs[0];
          return {
            tokens: r.tokens,
            n: r.blocks[0].n_expert,
            layers: r.blocks.map((b) => b.layer),
            count: Array.from(r.cells.count),
          };
        }),
      ),
    );
    for (const p of pages) await p.close(); // before the server that they ask goes away
    child.kill('SIGINT');
    await ended;
    // What each page held when it closed is exactly what the first tokens of the finished trace add up to.
    for (const s of seen) {
      const counts = countsOfFirst(trace, s.tokens);
      assert.deepEqual(
        s.count,
        s.layers.flatMap((l) => Array.from({ length: s.n }, (_, e) => counts.get(`${l}:${e}`) ?? 0)),
      );
    }
    const whole = JSON.parse(
      execFileSync(moescope, ['analyze', 'frequency', '--json', trace], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    );
    assert.ok(
      whole.tokens >= 4 * n_predict && whole.tokens >= Math.max(...seen.map((s) => s.tokens)),
      'nothing of it is missing in the finished trace',
    );
  },
);
