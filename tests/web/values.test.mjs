// What the page shows is what `moescope analyze --json` prints of the same trace: the page's own state, the figures
// written on it, and the colours of known cells.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  cellPixel,
  close,
  closeBrowser,
  legendPixel,
  moescope,
  open,
  report,
  serve,
  temporaryFolder,
  trace,
} from './support.mjs';

after(closeBrowser);

const analyze = (kind, ...options) =>
  JSON.parse(
    execFileSync(moescope, ['analyze', kind, '--json', ...options.map(String)], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  );
const near = (a, b, what, tolerance = 1e-9) =>
  assert.ok(
    (a === null && Number.isNaN(b)) || Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a)),
    `${what}: ${a} and ${b}`,
  );
const select = (page, state) => page.evaluate((s) => window.moescope.store.set(s), state);

test('experts and hottest: selections and shares of every expert, balance of every layer', async (t) => {
  const dir = temporaryFolder(t);
  const { path } = trace(dir, 'a', '--layers', 5, '--norms');
  const said = analyze('frequency', path, '--top', 1000);
  const page = await open(t, report(dir, [path]));
  const balance = said.layers;
  const experts = said.experts;
  assert.equal(experts.length, 5 * 32);
  const shown = await page.evaluate(() => {
    const r = window.moescope.page.runs[0];
    return { count: Array.from(r.cells.count), blocks: r.blocks, tokens: r.tokens };
  });
  assert.equal(shown.tokens, said.tokens);
  const most = Math.max(...experts.map((e) => e.share));
  for (const e of experts) {
    const cell = shown.blocks.find((b) => b.layer === e.layer).first_cell + e.expert;
    assert.equal(shown.count[cell], e.count);
  }
  for (const l of balance) {
    const b = shown.blocks.find((x) => x.layer === l.layer);
    assert.equal(b.rows, l.rows);
    near(l.entropy, b.entropy, 'entropy');
    near(l.gini, b.gini, 'Gini');
    near(l.max_vio, b.max_vio, 'MaxVio');
    assert.equal(b.dead, l.dead);
    assert.deepEqual(b.coverage, [l.coverage_50, l.coverage_80, l.coverage_90, l.coverage_95]);
  }
  // Pixels: a cell's colour is the legend's at its share.
  await select(page, { relative: false });
  for (const e of experts.filter((x) => x.count > 0).filter((_, i) => i % 23 === 0)) {
    const row = shown.blocks.findIndex((b) => b.layer === e.layer);
    assert.ok(
      close(await cellPixel(page, 'experts', 'matrix', e.expert, row), await legendPixel(page, e.share / most), 5),
      `layer ${e.layer} expert ${e.expert}`,
    );
  }
  // The table's text, row by row.
  await select(page, { view: 'hottest' });
  const rows = await page.$$eval('.hottest tbody tr', (trs) =>
    trs.map((tr) => Object.fromEntries([...tr.cells].map((c) => [c.dataset.column, c.textContent]))),
  );
  const ranked = [...experts].sort((a, b) => b.share - a.share || a.layer - b.layer || a.expert - b.expert);
  rows.slice(0, 40).forEach((r, i) => {
    assert.deepEqual(
      [Number(r.layer), Number(r.expert), Number(r.count.replaceAll(',', ''))],
      [ranked[i].layer, ranked[i].expert, ranked[i].count],
    );
    assert.equal(r.share, (ranked[i].share * 100).toFixed(ranked[0].share < 0.1 ? 2 : 1) + ' %');
  });
});

test('pairs: how often two experts work together', async (t) => {
  const dir = temporaryFolder(t);
  const { path } = trace(dir, 'a', '--layers', 3);
  const said = analyze('coactivation', path, '--all-pairs').all.filter((p) => p.from_layer === p.to_layer);
  const page = await open(t, report(dir, [path]), { view: 'pairs' });
  await select(page, { block: 1 });
  const mine = said.filter((p) => p.from_layer === 1);
  const all = await page.evaluate(() => {
    const v = window.moescope.view('pairs');
    return Array.from({ length: 32 * 32 }, (_, i) => v.of(i >> 5, i & 31));
  });
  const together = new Map(mine.map((p) => [p.a * 32 + p.b, p])); // those that occurred
  all.forEach((shown, i) => {
    if (i >> 5 === (i & 31)) return;
    const p = together.get(i);
    assert.equal(shown.together, p?.both ?? 0);
    if (p) near(p.conditional, shown.conditional, 'P(b|a)');
    if (p) near(p.lift, shown.lift, 'lift');
  });
  // Pixels of a row of the matrix.
  const scale = Math.max(...mine.map((p) => p.conditional));
  for (const p of mine
    .filter((x) => x.both > 0)
    .slice(0, 200)
    .filter((_, i) => i % 40 === 0)) {
    assert.ok(
      close(await cellPixel(page, 'pairs', 'matrix', p.b, p.a), await legendPixel(page, p.conditional / scale), 5),
    );
  }
});

for (const kind of ['labels of one trace', 'one trace each']) {
  test(`domains: shares and distances, ${kind}`, async (t) => {
    const dir = temporaryFolder(t);
    const names = ['code', 'prose', 'sums'];
    const paths =
      kind === 'one trace each'
        ? names.map((n, i) => trace(dir, n, '--layers', 3, '--seed', i + 1).path)
        : [trace(dir, 'a', '--layers', 3, '--labels', names.join()).path];
    const said = analyze('specialization', ...paths);
    const page = await open(t, report(dir, paths), { view: 'domains' });
    assert.equal(said.domains, 3);
    for (const l of said.layers) {
      const [a, b] = [names.indexOf(l.domain_a), names.indexOf(l.domain_b)];
      near(
        l.distance,
        await page.evaluate(([x, y, block]) => window.moescope.view('domains').distance(x, y, block), [a, b, l.layer]),
        'distance',
      );
    }
    const k = 4;
    const shown = await page.evaluate(() =>
      [0, 1, 2].map((block) =>
        [0, 1, 2].map((d) => Array.from({ length: 32 }, (_, e) => window.moescope.view('domains').share(d, e, block))),
      ),
    );
    for (const e of said.experts)
      near(e.frequency / k, shown[e.layer][names.indexOf(e.domain)][e.expert], `${e.domain} ${e.layer} ${e.expert}`);
    // Pixels and the numbers written into the cells' tooltip.
    await select(page, { block: 2, relative: false });
    const most = Math.max(...shown[2].flat());
    for (const [d, e] of [
      [0, 3],
      [1, 17],
      [2, 30],
    ]) {
      if (shown[2][d][e] > 0)
        assert.ok(
          close(await cellPixel(page, 'domains', 'matrix', e, d), await legendPixel(page, shown[2][d][e] / most), 5),
          `domain ${d} expert ${e}`,
        );
    }
  });
}

async function cacheOnPage(page) {
  await page.waitForSelector('.cache-body tbody tr');
  return page.evaluate(() => {
    const v = window.moescope.view('cache');
    const c = v.cache;
    const out = v
      .table()
      .rows.map(([scope, slots, policy, rate, low, high, bytes]) => ({ scope, slots, policy, rate, low, high, bytes }));
    return { slots: c.slots, accesses: c.accesses, cold: c.cold, ubatches: c.ubatches, tokens: c.tokens, all: out };
  });
}
function compareCache(shown, path, ...options) {
  for (const pool of [0, 1]) {
    const said = analyze('cache', path, '--slots', shown.slots.join(), ...(pool ? ['--global'] : []), ...options);
    const rows = shown.all.filter((s) => s.scope === (pool ? 'pool' : 'layer'));
    assert.equal(rows.length, said.policies.length);
    assert.equal(shown.ubatches, said.ubatches);
    assert.equal(shown.tokens, said.tokens);
    said.policies.forEach((p, i) => {
      assert.deepEqual([rows[i].slots, rows[i].policy], [p.slots, p.policy]);
      assert.equal(p.hit_rate, Number.isNaN(rows[i].rate) ? null : rows[i].rate, `${p.policy} with ${p.slots}`);
      near(p.hit_rate_low, rows[i].low, 'low');
      near(p.hit_rate_high, rows[i].high, 'high');
      near(p.bytes_per_token, rows[i].bytes, 'bytes per token');
      assert.deepEqual([shown.accesses, shown.cold], [p.accesses, p.cold]);
    });
  }
}

test('cache: every policy at every number of slots, in the file and from the server', async (t) => {
  const dir = temporaryFolder(t);
  const gguf = join(dir, 'm.gguf');
  const { path } = trace(dir, 'a', '--gpt-oss-model', gguf, '--decode', 300);
  const page = await open(t, report(dir, [path], '--model', gguf), { view: 'cache' });
  compareCache(await cacheOnPage(page), path, '--model', gguf);
  // What is written: the table at the chosen slots, and the curve's point there.
  const said = analyze('cache', path, '--slots', 8, '--model', gguf, '--bandwidth', '16G').policies;
  await page.evaluate(() => {
    const v = window.moescope.view('cache');
    v.pick(v.cache.slots.indexOf(8));
  });
  const rows = await page.$$eval('.cache-body tbody tr', (trs) =>
    trs.map((tr) => [tr.dataset.policy, ...[...tr.cells].slice(1).map((c) => c.textContent)]),
  );
  rows.forEach(([policy, rate, , , ceiling], i) => {
    assert.equal(policy, said[i].policy);
    assert.equal(rate, (said[i].hit_rate * 100).toFixed(1) + ' %');
    assert.ok(Math.abs(Number(ceiling.replaceAll(',', '')) - said[i].tokens_per_second_ceiling) <= 0.5, ceiling);
  });
  const lru = await page.evaluate(() => {
    const svg = document.querySelector('.chart');
    const dot = svg.querySelector('circle');
    const h = Number(svg.getAttribute('height'));
    return (h - 36 - Number(dot.getAttribute('cy'))) / (h - 36 - 22);
  });
  near(said[0].hit_rate, lru, 'height of the LRU point', 1e-3);
  await page.click('[aria-label="Scope"] [data-value="pool"]');
  assert.equal(
    await page.textContent('.cache-body tbody tr td:nth-child(2)'),
    (analyze('cache', path, '--slots', 8, '--global').policies[0].hit_rate * 100).toFixed(1) + ' %',
  );

  const { url } = await serve(t, path, '--model', gguf);
  const served = await open(t, url, { view: 'cache' });
  compareCache(await cacheOnPage(served), path, '--model', gguf);
});

test('tokens: experts and weights of every token', async (t) => {
  const dir = temporaryFolder(t);
  const { path } = trace(dir, 'a', '--layers', 4);
  const lines = execFileSync(moescope, ['export', path, '-f', 'jsonl', '-o', '-'], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
    .trim()
    .split('\n')
    .map((l) => JSON.parse(l));
  const page = await open(t, report(dir, [path]), { view: 'tokens' });
  const tile = await page.evaluate(() => {
    const x = window.moescope.page.runs[0].tile;
    return {
      token: Array.from(x.token),
      pos: Array.from(x.pos),
      phase: Array.from(x.phase),
      ids: x.rows.map((r) => Array.from(r.ids)),
      weights: x.rows.map((r) => Array.from(r.weights.value, (q) => r.weights.least + r.weights.step * q)),
    };
  });
  const rows = lines.filter((l) => l.ids);
  assert.equal(rows.length, 4 * 600);
  for (const r of rows) {
    const at = r.position; // one sequence: the position is the number
    assert.equal(tile.token[at], r.token);
    assert.equal(tile.phase[at], r.phase === 'decode' ? 1 : 0);
    assert.deepEqual(tile.ids[r.layer].slice(at * 4, at * 4 + 4), r.ids);
    r.weights.forEach((w, j) => near(w, tile.weights[r.layer][at * 4 + j], 'weight', 2e-5));
  }
});
