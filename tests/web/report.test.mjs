// The page of `moescope report`, driven as a person would, against traces whose contents are known.
import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  cellPixel,
  cellPoint,
  close,
  closeBrowser,
  legendPixel,
  open,
  report,
  settle,
  temporaryFolder,
  trace,
} from './support.mjs';

after(closeBrowser);

const argmax = (list) => list.reduce((best, v, i) => (v > list[best] ? i : best), 0);

// selections of a layer: [expert] = count, from the truth's ids alone
function counted(truth, layer, nExpert, from = 0) {
  const n = new Array(nExpert).fill(0);
  truth.ids[layer].slice(from).forEach((row) =>
    row.forEach((e) => {
      n[e] += 1;
    }),
  );
  return n;
}

test('experts: counts, shares, colours, tooltip, sorting, keyboard', async (t) => {
  const dir = temporaryFolder(t);
  const { path, truth } = trace(dir, 'a', '--norms');
  const file = report(dir, [path]);
  assert.ok(statSync(file).size < 5e6, 'under 5 MB');
  const page = await open(t, file);
  const counts = await page.evaluate(() => Array.from(window.moescope.page.runs[0].cells.count));
  const expected = Object.keys(truth.ids)
    .sort((a, b) => a - b)
    .flatMap((layer) => counted(truth, layer, 32));
  assert.deepEqual(counts, expected);
  assert.deepEqual(counts, truth.count.flat());

  // At first against balance: an expert with twice its fair share is one step of three to the right of the middle.
  const most = Math.max(...expected);
  const dead = expected.indexOf(0);
  const hottest = argmax(expected);
  const ratio = most / (2400 / 32);
  const relative = await cellPixel(page, 'experts', 'matrix', hottest % 32, Math.floor(hottest / 32));
  assert.ok(close(relative, await legendPixel(page, Math.min(1, 0.5 + Math.log2(ratio) / 6)), 6));

  // Absolute: every cell has the legend's colour for its share, or the colour of "never".
  await page.click('[aria-label="Scale"] [data-value="absolute"]');
  const some = expected.findIndex((v) => v > most * 0.3 && v < most * 0.6);
  for (const cell of [hottest, some]) {
    const pixel = await cellPixel(page, 'experts', 'matrix', cell % 32, Math.floor(cell / 32));
    assert.ok(close(pixel, await legendPixel(page, expected[cell] / most), 4), `cell ${cell}`);
  }
  const nothing = await cellPixel(page, 'experts', 'matrix', dead % 32, Math.floor(dead / 32));
  assert.ok(!close(nothing, await legendPixel(page, 0), 4), 'never selected differs from rarely');

  // Tooltip.
  const at = await cellPoint(page, 'experts', 'matrix', hottest % 32, Math.floor(hottest / 32));
  await page.mouse.move(at.x, at.y);
  const tip = await page.textContent('.tooltip');
  assert.match(tip, new RegExp(`layer ${Math.floor(hottest / 32)}, expert ${hottest % 32}`));
  assert.match(tip, new RegExp(`selections${most}share`));
  assert.match(tip, new RegExp(`${((most / 2400) * 100).toFixed(1)} %`)); // 600 rows of 4

  // A click selects; the panel follows.
  await page.mouse.click(at.x, at.y);
  assert.match(await page.textContent('.selection'), new RegExp(`Expert ${hottest % 32}`));
  assert.match(await page.textContent('.selection'), /rank in the layer1 of 32/);

  // By heat: each row falls from left to right, and the first is the layer's largest.
  await page.click('[aria-label="Order of experts"] [data-value="heat"]');
  for (const row of [0, 7, 23]) {
    const layer = counted(truth, row, 32);
    const sorted = [...layer].sort((a, b) => b - a);
    for (const rank of [0, 5]) {
      const pixel = await cellPixel(page, 'experts', 'matrix', rank, row);
      assert.ok(close(pixel, await legendPixel(page, sorted[rank] / most), 4), `layer ${row} rank ${rank}`);
    }
  }
  await page.click('[aria-label="Order of experts"] [data-value="id"]');

  // Keyboard: arrows, layers, views, theme.
  await page.focus('canvas.matrix');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowDown');
  const state = await page.evaluate(() => window.moescope.store.now);
  assert.equal(state.expert, Math.min(31, (hottest % 32) + 1));
  assert.equal(state.block, Math.min(23, Math.floor(hottest / 32) + 1));
  await page.keyboard.press('[');
  assert.equal(await page.evaluate(() => window.moescope.store.now.block), Math.max(0, state.block - 1));
  await page.keyboard.press('t');
  assert.equal(await page.getAttribute('html', 'data-theme'), 'dark');
  await page.keyboard.press('2');
  await page.waitForFunction(() => location.hash.startsWith('#tokens?'));
});

test('experts: generated tokens alone, mean gate and REAP', async (t) => {
  const dir = temporaryFolder(t);
  const { path, truth } = trace(dir, 'a', '--norms', '--layers', 3);
  const page = await open(t, report(dir, [path]));
  await page.click('[aria-label="Tokens"] [data-value="decode"]');
  const decoded = await page.evaluate(() => {
    const r = window.moescope.page.runs[0];
    return Array.from(r.cells.count_decoded);
  });
  assert.deepEqual(
    decoded,
    [0, 1, 2].flatMap((layer) => counted(truth, layer, 32, 400)),
  );
  const means = await page.evaluate(() => Array.from(window.moescope.page.runs[0].cells.weight_mean));
  for (let e = 0; e < 32; e++) {
    const weights = truth.ids['1']
      .flatMap((row, i) => row.map((id, j) => (id === e ? truth.weights['1'][i][j] : null)))
      .filter((w) => w !== null);
    const mean = weights.reduce((a, b) => a + b, 0) / weights.length;
    if (weights.length === 0) assert.ok(Number.isNaN(means[32 + e]));
    else assert.ok(Math.abs(means[32 + e] - mean) < 1e-6);
  }
  await page.click('[aria-label="Metric"] [data-value="reap"]');
  assert.equal(await page.evaluate(() => window.moescope.store.now.metric), 'reap');
});

test('tokens: experts and weights of a token in every layer', async (t) => {
  const dir = temporaryFolder(t);
  const { path, truth } = trace(dir, 'a', '--layers', 6);
  const page = await open(t, report(dir, [path]), { view: 'tokens' });
  for (const token of [0, 63, 399, 400, 577]) {
    await page.evaluate((n) => document.querySelector(`[data-token="${n}"]`).click(), token);
    const shown = await page.$$eval('.layer-row', (rows) =>
      rows.map((r) =>
        [...r.querySelectorAll('.chip')].map((c) => [
          Number(c.children[0].textContent),
          Number(c.children[1].textContent),
        ]),
      ),
    );
    assert.equal(shown.length, 6);
    shown.forEach((chips, layer) => {
      assert.deepEqual(
        chips.map((c) => c[0]),
        truth.ids[layer][token],
      );
      chips.forEach(([, w], j) =>
        assert.ok(Math.abs(w - truth.weights[layer][token][j]) <= 0.00051, `token ${token} layer ${layer}`),
      );
    });
    // The grid's pixels: selected cells are coloured, their neighbours are not.
    const nothing = [...Array(32).keys()].find((e) => !truth.ids[2][token].includes(e));
    const strongest = truth.ids[2][token][0];
    assert.notDeepEqual(
      await cellPixel(page, 'tokens', 'grid', strongest, 2),
      await cellPixel(page, 'tokens', 'grid', nothing, 2),
    );
  }
  // The text is the text.
  const text = await page.$$eval('[data-token]', (es) =>
    es
      .slice(0, 40)
      .map((e) => e.textContent)
      .join(''),
  );
  assert.equal(text, truth.pieces.slice(0, 40).join('').replaceAll('\n', '↵'));
  // The player goes from generated token to generated token.
  await page.evaluate(() => window.moescope.store.set({ token: null }));
  await page.click('[aria-label="Next generated token"]');
  assert.equal(await page.evaluate(() => window.moescope.store.now.token), 400);
  await page.click('[aria-label="Next generated token"]');
  assert.equal(await page.evaluate(() => window.moescope.store.now.token), 401);
  // Arrow keys move in the text.
  await page.focus('.text');
  await page.keyboard.press('ArrowLeft');
  assert.equal(await page.evaluate(() => window.moescope.store.now.token), 400);
});

test('memory: every slice of a model of the shape of gpt-oss-20b, coloured exactly where it was read', async (t) => {
  const dir = temporaryFolder(t);
  const gguf = join(dir, 'gpt-oss.gguf');
  const { path, truth } = trace(dir, 'a', '--access', '--gpt-oss-model', gguf);
  const page = await open(t, report(dir, [path], '--model', gguf), { view: 'memory' });
  const map = await page.evaluate(() => {
    const m = window.moescope.page.memory;
    const v = window.moescope.view('memory');
    return Array.from(m.expert, (expert, i) => ({
      expert,
      layer: m.layer[i],
      tensor: m.tensors[m.tensor[i]],
      size: m.size[i],
      offset: m.offset[i],
      accesses: v.accesses(i),
      color: v.colorOf(i),
    }));
  });
  const slices = map.filter((e) => e.expert >= 0);
  assert.equal(map.length, 2691);
  assert.equal(slices.length, 2304);
  const perTensor = new Map();
  for (const s of slices) perTensor.set(s.tensor, (perTensor.get(s.tensor) ?? 0) + 1);
  assert.equal(perTensor.size, 72);
  assert.ok([...perTensor.values()].every((n) => n === 32));
  const grey = map.find((e) => e.expert >= 0 && truth.accesses[e.layer][e.expert] === 0).color;
  for (const s of slices) {
    assert.equal(s.accesses, truth.accesses[s.layer][s.expert]);
    assert.equal(s.color === grey, truth.accesses[s.layer][s.expert] === 0, `${s.tensor}[${s.expert}]`);
    assert.equal(s.size, 4406400);
  }
  assert.equal(await page.evaluate(() => window.moescope.view('memory').total), statSync(gguf).size);
  for (let i = 1; i < map.length; i++) assert.ok(map[i].offset >= map[i - 1].offset + map[i - 1].size, 'no overlap');
  // 207 ubatches read the embedding; a tensor that the trace does not name was read by none.
  assert.equal(map.find((e) => e.tensor === 'token_embd.weight').accesses, 207);
  assert.equal(map.find((e) => e.tensor === 'output.weight').accesses, 0);

  // Zoom to one slice: its pixels have its colour.
  const some = map.findIndex((e) => e.expert >= 0 && e.accesses > 20);
  const pixel = await page.evaluate((i) => {
    const m = window.moescope.page.memory;
    const v = window.moescope.view('memory');
    v.zoomTo(m.offset[i], m.offset[i] + m.size[i]);
    const box = v.boxOf(i);
    const c = document.querySelector('canvas.strip');
    const p = c
      .getContext('2d')
      .getImageData((box.x + box.width / 2) * devicePixelRatio, 60 * devicePixelRatio, 1, 1).data;
    return { width: box.width, color: `rgb(${p[0]}, ${p[1]}, ${p[2]})` };
  }, some);
  assert.ok(pixel.width > 300);
  assert.equal(pixel.color, map[some].color);
  const strip = await page.locator('canvas.strip').boundingBox();
  await page.mouse.move(strip.x + strip.width / 2, strip.y + 60);
  const tip = await page.textContent('.tooltip');
  assert.ok(tip.includes(`${map[some].tensor}[${map[some].expert}]`));
  assert.ok(tip.includes('accesses' + map[some].accesses));
  assert.ok(tip.includes('4,406,400'));

  // Filters.
  await page.selectOption('[aria-label="Layer"] >> nth=0', { label: 'Layer 3' });
  const passing = await page.evaluate(() => {
    const v = window.moescope.view('memory');
    const m = window.moescope.page.memory;
    return Array.from(m.layer, (l, i) => v.passes(i) === (l === 3)).every(Boolean);
  });
  assert.ok(passing);

  // A token lights up exactly the slices that its ubatch reads: k experts in 24 layers, 3 matrices each.
  await page.evaluate(() => window.moescope.store.set({ token: 450 }));
  const lit = await page.evaluate(() => {
    const m = window.moescope.page.memory;
    return window.moescope
      .view('memory')
      .slicesLit()
      .map((i) => [m.layer[i], m.expert[i]]);
  });
  assert.equal(lit.length, 24 * 4 * 3);
  assert.ok(lit.every(([layer, e]) => truth.ids[layer][450].includes(e)));
});

test('pairs: conditional probability and lift', async (t) => {
  const dir = temporaryFolder(t);
  const { path, truth } = trace(dir, 'a', '--layers', 4);
  const page = await open(t, report(dir, [path]), { view: 'pairs' });
  await page.evaluate(() => window.moescope.store.set({ block: 2 }));
  const rows = truth.ids['2'];
  const n = (f) => rows.filter(f).length;
  for (const [a, b] of [
    [0, 1],
    [3, 9],
    [30, 5],
  ]) {
    const p = await page.evaluate(([x, y]) => window.moescope.view('pairs').of(x, y), [a, b]);
    const together = n((r) => r.includes(a) && r.includes(b));
    const na = n((r) => r.includes(a));
    const nb = n((r) => r.includes(b));
    assert.equal(p.together, together);
    if (na > 0) assert.ok(Math.abs(p.conditional - together / na) < 1e-12);
    if (na > 0 && nb > 0) assert.ok(Math.abs(p.lift - (together * rows.length) / (na * nb)) < 1e-9);
  }
});

test('hottest: sorting, filter, CSV', async (t) => {
  const dir = temporaryFolder(t);
  const { path, truth } = trace(dir, 'a');
  const page = await open(t, report(dir, [path]), { view: 'hottest' });
  const first = () =>
    page.$eval('.hottest tbody tr', (r) =>
      [...r.cells].slice(0, 3).map((c) => Number(c.textContent.replaceAll(',', ''))),
    );
  const flat = truth.count.flat();
  const hottest = argmax(flat);
  assert.deepEqual(await first(), [Math.floor(hottest / 32), hottest % 32, flat[hottest]]);
  await page.click('th:has-text("Count") button');
  await page.click('th:has-text("Count") button');
  assert.equal((await first())[2], 0);
  await page.fill('input[type=search]', 'layer 3');
  assert.match(await page.textContent('.hottest + *, .toolbar .quiet'), /32 experts of 768/);
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('text=CSV')]);
  const lines = readFileSync(await download.path(), 'utf8')
    .trim()
    .split('\n')
    .map((l) => l.split(','));
  assert.deepEqual(lines[0].slice(0, 3), ['layer', 'expert', 'count']);
  assert.equal(lines.length, 33);
  for (const [layer, expert, count] of lines.slice(1)) {
    assert.equal(Number(layer), 3);
    assert.equal(Number(count), truth.count[3][expert]);
  }
});

test('several traces: domains and comparison', async (t) => {
  const dir = temporaryFolder(t);
  const a = trace(dir, 'code', '--layers', 3);
  const b = trace(dir, 'prose', '--layers', 3, '--seed', 2);
  const page = await open(t, report(dir, [a.path, b.path]), { view: 'compare' });
  const shown = await page.evaluate(() => [0, 1, 2].map((r) => window.moescope.view('compare').measures(r)));
  for (let layer = 0; layer < 3; layer++) {
    const common = a.truth.ids[layer].reduce(
      (s, row, i) => s + row.filter((e) => b.truth.ids[layer][i].includes(e)).length,
      0,
    );
    assert.ok(Math.abs(shown[layer].overlap - common / (600 * 4)) < 1e-12);
    // Jensen-Shannon as entropy of the mean minus mean of the entropies.
    const p = a.truth.count[layer].map((c) => c / 2400);
    const q = b.truth.count[layer].map((c) => c / 2400);
    const H = (v) => -v.reduce((s, x) => s + (x > 0 ? x * Math.log2(x) : 0), 0);
    const js = Math.sqrt(H(p.map((x, i) => (x + q[i]) / 2)) - (H(p) + H(q)) / 2);
    assert.ok(Math.abs(shown[layer].distance - js) < 1e-9);
    await page.evaluate((block) => window.moescope.store.set({ view: 'domains', block }), layer);
    assert.ok(Math.abs((await page.evaluate(() => window.moescope.view('domains').distance(0, 1))) - js) < 1e-9);
    await page.evaluate(() => window.moescope.store.set({ view: 'compare' }));
  }
});

test('untrusted text stays text', async (t) => {
  const dir = temporaryFolder(t);
  const hostile = join(dir, 'hostile.txt');
  const text =
    '</script><script>window.pwned=1</script><img src=x onerror="window.pwned=2"> "\'`${1}\u0000\u0007\u001b[31m \u202eright-to-left \u05e9\u05dc\u05d5\u05dd \u200b\ud83d\ude00 <b>bold</b>&amp;';
  writeFileSync(hostile, text);
  const { path, truth } = trace(
    dir,
    'a',
    '--text',
    hostile,
    '--name',
    '<img src=x onerror=window.pwned=3>',
    '--layers',
    2,
  );
  const page = await open(t, report(dir, [path], '--label', '</title><script>window.pwned=4</script>'), {
    view: 'tokens',
  });
  await page.click('[data-token="3"]');
  const seen = await page.$$eval('[data-token]', (es) => es.map((e) => e.textContent).join(''));
  assert.ok(seen.includes('window.pwned'));
  assert.ok(seen.includes('␀'), 'control characters can be seen');
  assert.ok(seen.includes('‹202E›'), 'direction marks cannot turn the text around');
  assert.ok(seen.includes('שלום') && seen.includes('😀'));
  assert.equal(await page.evaluate(() => window.pwned), undefined);
  assert.equal(await page.$$eval('#app script, #app img, #app b > b', (es) => es.length), 0);
  assert.equal(await page.$eval('h1', (e) => e.textContent), '<img src=x onerror=window.pwned=3>');
  assert.equal(await page.$$eval('[data-token] *', (es) => es.length), 0);
  assert.ok(truth.pieces.length > 0);
  for (const view of ['experts', 'pairs', 'hottest'])
    await page.evaluate((v) => window.moescope.store.set({ view: v, expert: 1 }), view);
  assert.equal(await page.evaluate(() => window.pwned), undefined);
});

test('--no-text leaves every text out', async (t) => {
  const dir = temporaryFolder(t);
  const { path, truth } = trace(dir, 'a', '--layers', 2);
  const page = await open(t, report(dir, [path], '--no-text'), { view: 'tokens' });
  const data = await page.evaluate(() => window.moescope.page.runs[0].tile.pieces.bytes.length);
  assert.equal(data, 0);
  assert.match(await page.textContent('[data-token="0"]'), /^#\d+$/);
  assert.ok(truth.pieces.some((p) => p.includes('harbour')) && !(await page.content()).includes('harbour'));
});

test('counts alone still give a page', async (t) => {
  const dir = temporaryFolder(t);
  const { path, truth } = trace(dir, 'a', '--counts-only', '--layers', 3);
  const page = await open(t, report(dir, [path]));
  assert.deepEqual(await page.evaluate(() => Array.from(window.moescope.page.runs[0].cells.count)), truth.count.flat());
  await page.evaluate(() => window.moescope.store.set({ view: 'tokens' }));
  assert.match(await page.textContent('.stage'), /only counts/);
});

test('both widths, both themes: nothing sticks out, everything is there', async (t) => {
  const dir = temporaryFolder(t);
  const gguf = join(dir, 'm.gguf');
  const { path } = trace(
    dir,
    'a',
    '--norms',
    '--labels',
    'code,arithmetic,a label longer than its place',
    '--gpt-oss-model',
    gguf,
  );
  const file = report(dir, [path], '--model', gguf);
  for (const width of [1280, 390]) {
    for (const colorScheme of ['light', 'dark']) {
      const page = await open(t, file, { width, colorScheme });
      assert.equal(await page.getAttribute('html', 'data-theme'), colorScheme);
      for (const view of ['experts', 'memory', 'tokens', 'pairs', 'domains', 'cache', 'hottest']) {
        await page.evaluate((v) => window.moescope.store.set({ view: v, block: 4, expert: 7, token: 420 }), view);
        await settle(page);
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${view} at ${width}`);
        assert.ok(await page.evaluate(() => document.querySelector('.stage').textContent.length > 50));
      }
    }
  }
});
