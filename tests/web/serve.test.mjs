// The page of `moescope serve`: the same values in tiles, who may ask, traces that grow, Prometheus.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { closeBrowser, makeTrace, open, serve, temporaryFolder, trace } from './support.mjs';

after(closeBrowser);

function ask(url, path, { method = 'GET', headers = {}, body } = {}) {
  const { hostname, port } = new URL(url);
  return new Promise((done, failed) => {
    const r = request({ hostname, port, path, method, headers }, (answer) => {
      const parts = [];
      answer.on('data', (d) => parts.push(d));
      answer.on('end', () => done({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) }));
    });
    r.on('error', failed);
    r.end(body);
  });
}

function raw(url, text) {
  return new Promise((done, failed) => {
    let answer = '';
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(text));
    socket.on('data', (d) => {
      answer += d;
    });
    socket.on('close', () => done(answer));
    socket.on('error', failed);
  });
}

const until = async (what, seconds = 90) => {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const v = await what();
    if (v) return v;
    assert.ok(Date.now() < end, 'it did not happen in time');
    await new Promise((r) => setTimeout(r, 100));
  }
};

test('only who knows the token, by the right name, gets an answer', async (t) => {
  const dir = temporaryFolder(t);
  const { path } = trace(dir, 'a', '--layers', 2);
  const { url } = await serve(t, path);
  const base = new URL(url).pathname;
  const wrong = base.replace(/[0-9a-f]/, (c) => (c === '0' ? '1' : '0'));
  assert.match(base, /^\/[0-9a-f]{32}\/$/);
  const status = async (p, o) => (await ask(url, p, o)).status;
  assert.equal(await status(base), 200);
  assert.equal(await status(wrong), 403);
  assert.equal(await status(wrong + 'data'), 403);
  assert.equal(await status('/'), 403);
  assert.equal(await status('/data'), 403);
  for (const p of ['x', '../../../../etc/passwd', '..%2f..%2f..%2fetc%2fpasswd', 'a.moetrace', 'data/', '%00'])
    assert.ok([403, 404].includes(await status(base + p)), p);
  for (const q of [
    'tokens',
    'tokens?run=9&first=0&count=1',
    'tokens?run=-1&first=0&count=1',
    'tokens?run=0&first=x&count=1',
    'tokens?run=0&first=99999999999999999999&count=1',
    'pairs?run=0',
    'pairs?run=7&block=0',
  ]) {
    assert.equal(await status(base + q), 404, q);
  }
  for (const host of [
    'evil.example',
    'evil.example:' + new URL(url).port,
    '127.0.0.1',
    '127.0.0.1:1',
    'localhost.evil.example:' + new URL(url).port,
  ]) {
    assert.equal(await status(base, { headers: { Host: host } }), 403, `Host ${host}`);
  }
  assert.match(await raw(url, `GET ${base} HTTP/1.0\r\n\r\n`), /^HTTP\/1\.[01] 403/, 'no Host at all');
  assert.equal(await status(base, { headers: { Host: 'localhost:' + new URL(url).port } }), 200);
  assert.equal(await status(base, { method: 'POST', body: 'x' }), 405);
  assert.equal(await status(base, { method: 'DELETE' }), 405);
  assert.ok((await status(base + 'tokens?' + 'a'.repeat(20000))) >= 400);
  const head = (await ask(url, base)).headers;
  assert.match(head['content-security-policy'], /default-src 'none'.*frame-ancestors 'none'/);
  assert.equal(head['referrer-policy'], 'no-referrer');
  assert.equal(head['x-content-type-options'], 'nosniff');
});

test('a long trace comes in tiles', async (t) => {
  const dir = temporaryFolder(t);
  const { path, truth } = trace(dir, 'a', '--layers', 3, '--prompt', 20000, '--ubatch', 512, '--decode', 30);
  const { url } = await serve(t, path);
  const page = await open(t, url, { view: 'tokens' });
  await page.waitForFunction(() => window.moescope.page.runs[0].tokens === 20030);
  assert.deepEqual(await page.evaluate(() => Array.from(window.moescope.page.runs[0].cells.count)), truth.count.flat());
  for (const token of [19000, 12288, 20029, 5, 8191]) {
    await page.evaluate((n) => window.moescope.view('tokens').showFrom(n), token);
    await page.click(`[data-token="${token}"]`);
    const shown = await page.$$eval('.layer-row', (rows) =>
      rows.map((r) => [...r.querySelectorAll('.chip b')].map((b) => Number(b.textContent))),
    );
    assert.deepEqual(
      shown,
      [0, 1, 2].map((layer) => truth.ids[layer][token]),
    );
  }
});

test('metrics are what was counted', async (t) => {
  const dir = temporaryFolder(t);
  const { path, truth } = trace(dir, 'a', '--layers', 3);
  const { url } = await serve(t, path, '--label', 'the "first"\\run');
  const text = await until(async () => {
    const b = (await ask(url, '/metrics')).body.toString();
    return b.includes('phase="decode"} 200') && b;
  });
  assert.equal((await ask(url, '/metrics', { headers: { Host: 'evil.example' } })).status, 403);
  const value = (name, labels) =>
    Number(
      text
        .split('\n')
        .find((l) => l.startsWith(`${name}{run="the \\"first\\"\\\\run"${labels}}`))
        .split(' ')
        .at(-1),
    );
  assert.equal(value('moescope_tokens_total', ',phase="prefill"'), 400);
  truth.count.forEach((counts, layer) => {
    const labels = `,layer="${layer}",block="0"`;
    const p = counts.map((c) => c / 2400);
    assert.ok(Math.abs(value('moescope_layer_max_share', labels) - Math.max(...p)) < 1e-12);
    assert.equal(value('moescope_layer_dead_experts', labels), counts.filter((c) => c === 0).length);
    const entropy = -p.reduce((s, x) => s + (x > 0 ? x * Math.log(x) : 0), 0) / Math.log(32);
    assert.ok(Math.abs(value('moescope_layer_entropy', labels) - entropy) < 1e-12);
  });
  for (const line of text.trim().split('\n')) assert.match(line, /^(# (HELP|TYPE) .+|[a-z_]+\{.*\} (NaN|[0-9.e+-]+))$/);
});

test('two browsers follow a trace that grows, while a slow client dawdles', async (t) => {
  const dir = temporaryFolder(t);
  const path = join(dir, 'live.moetrace');
  const writer = spawn(makeTrace, [
    '--out',
    path,
    '--truth',
    join(dir, 'live.json'),
    '--layers',
    '4',
    '--prompt',
    '200',
    '--decode',
    '1300',
    '--delay-ms',
    '50',
  ]);
  const written = new Promise((done) => writer.once('exit', done));
  t.after(() => {
    if (writer.exitCode === null) writer.kill();
  });
  const { url, child, ended } = await until(() => serve(t, '--live', path).catch(() => null));
  const slow = connect(Number(new URL(url).port), '127.0.0.1'); // asks, and never reads the answer
  slow.on('error', () => {});
  slow.write(`GET ${new URL(url).pathname}data HTTP/1.1\r\nHost: 127.0.0.1:${new URL(url).port}\r\n`);
  const pages = [await open(t, url), await open(t, url, { view: 'tokens' })];
  const seen = async (p) =>
    p.evaluate(() => ({
      tokens: window.moescope.page.runs[0].tokens,
      token: window.moescope.store.now.token,
      live: document.querySelector('.live').textContent,
    }));
  for (const p of pages) {
    const first = await seen(p);
    assert.ok(first.tokens > 0 && first.live.includes('live'));
    const later = await until(async () => {
      const s = await seen(p);
      return s.tokens > first.tokens + 5 && s;
    });
    assert.equal(later.token, later.tokens - 1, 'the newest token is in view');
  }
  await written;
  for (const p of pages) await until(async () => (await seen(p)).tokens === 1500);
  slow.destroy();
  for (const p of pages) await p.close(); // before the server that they ask goes away
  child.kill('SIGINT');
  assert.equal(await ended, 130);
});
