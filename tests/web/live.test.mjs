// llama-server under `moescope record --live=0`, four requests at once, two browsers looking on.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { closeBrowser, moescope, open, temporaryFolder } from './support.mjs';

after(closeBrowser);

const root = join(import.meta.dirname, '..', '..');
const model = process.env.MOESCOPE_TEST_MODEL ?? join(root, 'models', 'demo.gguf');
const server = join(process.env.LLAMA_CPP_BIN ?? '', 'llama-server');
const missing = !existsSync(model) ? 'needs models/demo.gguf' : !existsSync(server) ? 'needs llama-server in LLAMA_CPP_BIN' : false;

const freePort = () => new Promise((done) => {
  const s = createServer().listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => done(port)); });
});
const until = async (what, seconds = 60) => {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const v = await what().catch(() => null);
    if (v) return v;
    assert.ok(Date.now() < end, 'it did not happen in time');
    await new Promise((r) => setTimeout(r, 150));
  }
};

test('counts and the newest token move while llama-server works', { skip: missing }, async (t) => {
  const dir = temporaryFolder(t), port = await freePort(), trace = join(dir, 'live.moetrace');
  const child = spawn(moescope, ['record', '--live=0', '-o', trace, '--', server, '-m', model, '--port', String(port), '-np', '4', '-t', '2', '--no-webui'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise((done) => child.once('exit', done));
  t.after(() => { if (child.exitCode === null) child.kill('SIGKILL'); });
  let log = '';
  child.stderr.on('data', (d) => { log += d; });
  const url = await until(async () => /live: (http:\S+)/.exec(log)?.[1]);
  await until(async () => (await fetch(`http://127.0.0.1:${port}/health`)).ok);

  // Four clients that ask again and again, so that there is always something to see.
  let asking = true, answered = 0;
  const clients = ['def add(a, b):', 'What is 12 + 30?', 'The old harbour', 'Once upon a time'].map(async (prompt) => {
    while (asking) {
      const answer = await fetch(`http://127.0.0.1:${port}/completion`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ prompt, n_predict: 120, ignore_eos: true }) });
      answered += (await answer.json()).tokens_predicted === 120 ? 1 : 0;
    }
  });
  const pages = [await open(t, url), await open(t, url, { view: 'tokens' })];
  const tokens = (p) => p.evaluate(() => window.moescope.page.runs[0].tokens);
  for (const p of pages) {
    const before = await tokens(p);
    await until(async () => (await tokens(p)) > before + 50);
    await until(async () => p.evaluate(() => window.moescope.page.memory !== null));   // of the model that the trace names
    assert.ok(await p.evaluate(() => { const { page, store } = window.moescope, r = page.runs[0]; return store.now.token === r.tile.first + r.tile.n - 1; }));
  }
  asking = false;
  await Promise.all(clients);
  assert.ok(answered >= 4);
  const last = await pages[0].evaluate(() => { const r = window.moescope.page.runs[0]; return { tokens: r.tokens, sum: r.cells.count.reduce((a, b) => a + b, 0), rows: r.blocks.reduce((n, b) => n + b.rows * b.n_expert_used, 0) }; });
  assert.equal(last.sum, last.rows);
  for (const p of pages) await p.close();   // before the server that they ask goes away
  child.kill('SIGINT');
  await ended;
  const frequency = JSON.parse(execFileSync(moescope, ['analyze', 'frequency', '--json', trace], { encoding: 'utf8' }));
  assert.ok(frequency.tokens >= last.tokens, 'the finished trace holds what the page saw');
});
