// Taking a view away: as a link that brings everything back, as a picture, as a table.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { close, closeBrowser, open, openBrowser, report, settle, temporaryFolder, trace } from './support.mjs';

after(closeBrowser);

const stateOf = (page) =>
  page.evaluate(() => {
    const { view, run, block, expert, token, metric, relative, sort, phase, options } = window.moescope.store.now;
    return { view, run, block, expert, token, metric, relative, sort, phase, options };
  });
const address = (page) => page.evaluate(() => location.href);

// What "Copy link" gives.
async function copied(page) {
  await page.evaluate(() => {
    navigator.clipboard.writeText = async (text) => {
      window.copied = text;
    };
  });
  await page.click('text=Copy link');
  return page.evaluate(() => window.copied);
}

test('a link brings back the view and everything that is selected in it', async (t) => {
  const dir = temporaryFolder(t);
  const gguf = join(dir, 'm.gguf');
  const a = trace(dir, 'a', '--norms', '--labels', 'code,prose', '--gpt-oss-model', gguf);
  const b = trace(dir, 'b', '--seed', 5, '--norms', '--labels', 'code,prose');
  const file = report(dir, [a.path, b.path], '--model', gguf);
  const wanted = {
    run: 1,
    block: 7,
    expert: 13,
    token: 420,
    metric: 'reap',
    relative: false,
    sort: 'heat',
    phase: 'decode',
  };
  const options = {
    experts: {},
    memory: { 'memory.only': '3', 'memory.pixel': 'mean' },
    tokens: { 'tokens.find': 'a b&c=d', 'tokens.shade': 'spread' },
    pairs: { 'pairs.measure': 'lift' },
    domains: { 'domains.by': 'trace' },
    cache: { 'cache.slots': '8', 'cache.scope': 'pool', 'cache.bandwidth': '3' },
    foresight: { 'foresight.length': '2', 'foresight.bandwidth': '-2' },
    hottest: { 'hottest.filter': 'layer 3', 'hottest.sort': 'expert' },
    compare: { 'compare.from': '2', 'compare.to': '1' },
  };
  const page = await open(t, file);
  for (const [view, own] of Object.entries(options)) {
    await page.evaluate(([v, w, o]) => window.moescope.store.set({ view: v, ...w, options: o }), [view, wanted, own]);
    await settle(page);
    const link = await copied(page);
    await page.waitForFunction((l) => location.href === l, link);
    const there = await open(t, link.slice('file://'.length));
    assert.deepEqual(await stateOf(there), { view, ...wanted, options: own }, link);
    await there.close();
  }
  // What the controls show is what the link says.
  const hottest = await open(t, file, { view: 'hottest?filter=layer+3&sort=expert' });
  assert.equal(await hottest.inputValue('[aria-label="Filter"]'), 'layer 3');
  assert.match(await hottest.textContent('.stage .quiet'), /32 experts of/);
  const cache = await open(t, file, { view: 'cache?slots=8' });
  assert.match(await cache.textContent('.cache-body output'), /^8 of 32/);
  const memory = await open(t, file, { view: 'memory?only=3' });
  assert.equal(await memory.$eval('[aria-label="Layer"]', (e) => e.selectedOptions[0].textContent), 'Layer 3');
  const compare = await open(t, file, { view: 'compare?from=2&to=1' });
  assert.equal(await compare.$eval('[aria-label="First run"]', (e) => e.selectedOptions[0].textContent), 'b');
});

test('an address that makes no sense shows the first look', async (t) => {
  const dir = temporaryFolder(t);
  const file = report(dir, [trace(dir, 'a', '--layers', 3).path]);
  const first = await stateOf(await open(t, file));
  assert.deepEqual(
    [first.view, first.block, first.expert, first.relative, first.metric],
    ['experts', 0, null, true, 'share'],
  );
  const wrong = 'experts?run=9&layer=77&expert=32&token=-1&metric=no&order=7&tokens=x&scale=y';
  assert.deepEqual(await stateOf(await open(t, file, { view: wrong })), first);
  assert.equal((await stateOf(await open(t, file, { view: 'nowhere?layer=1' }))).view, 'experts');
  // Back and forth by hand, as with the browser's own buttons.
  const page = await open(t, file, { view: 'pairs?layer=2&measure=lift' });
  await page.evaluate(() => (location.hash = '#experts?layer=1&expert=4'));
  await page.waitForFunction(() => window.moescope.store.now.expert === 4);
  assert.equal((await stateOf(page)).block, 1);
  assert.match(await address(page), /#experts\?layer=1&expert=4$/);
});

// A PNG's size, and its pixels through a canvas.
async function readPng(t, file) {
  const bytes = readFileSync(file);
  assert.deepEqual([...bytes.subarray(1, 4)], [...Buffer.from('PNG')]);
  const page = await (await openBrowser()).newPage();
  t.after(() => page.close());
  return page.evaluate(async (data) => {
    const image = new Image();
    image.src = 'data:image/png;base64,' + data;
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = image.width;
    canvas.height = image.height;
    const ctx = canvas.getContext('2d');
    ctx.drawImage(image, 0, 0);
    const seen = new Set();
    const { data: p } = ctx.getImageData(0, 0, image.width, image.height);
    for (let i = 0; i < p.length; i += 4) seen.add((p[i] << 16) | (p[i + 1] << 8) | p[i + 2]);
    return { width: image.width, height: image.height, colors: [...seen] };
  }, bytes.toString('base64'));
}
async function saved(page, kind) {
  const [download] = await Promise.all([page.waitForEvent('download'), page.click(`.view-actions >> text=${kind}`)]);
  return { name: download.suggestedFilename(), path: await download.path() };
}
// By an independent reader of RFC 4180.
function parseCsv(text) {
  const rows = [[]];
  for (const [, quotedCell, cell, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\n)/g)) {
    rows.at(-1).push(quotedCell === undefined ? cell : quotedCell.replaceAll('""', '"'));
    if (end === '\n') rows.push([]);
  }
  return rows.slice(0, -1);
}

test('every view as a picture and as a table', async (t) => {
  const dir = temporaryFolder(t);
  const gguf = join(dir, 'm.gguf');
  const a = trace(dir, 'a', '--norms', '--labels', 'code,prose', '--gpt-oss-model', gguf);
  const b = trace(dir, 'b', '--seed', 5, '--norms', '--labels', 'code,prose');
  const file = report(dir, [a.path, b.path], '--model', gguf);
  const page = await open(t, file);
  const views = await page.$$eval('.tabs button', (all) => all.map((x) => x.dataset.value));
  assert.equal(views.length, 9);
  const tables = {};
  for (const view of views) {
    await page.evaluate((v) => window.moescope.store.set({ view: v, block: 4, expert: 7, token: 420 }), view);
    await settle(page);
    const box = await page.$eval('.stage > *', (e) => e.getBoundingClientRect().toJSON());
    const png = await saved(page, 'PNG');
    assert.equal(png.name, `a-${view}.png`);
    const image = await readPng(t, png.path);
    assert.equal(image.width, Math.round((box.width + 32) * 2), view);
    assert.ok(image.height > 200 && image.colors.length > 40, `${view}: ${image.height} ${image.colors.length}`);
    assert.equal(await page.$eval('.stage > *', (e) => e.classList.contains('picture')), false);
    const csv = await saved(page, 'CSV');
    assert.equal(csv.name, `a-${view}.csv`);
    tables[view] = parseCsv(readFileSync(csv.path, 'utf8'));
    assert.ok(tables[view].length > 8, view);
    for (const row of tables[view]) assert.equal(row.length, tables[view][0].length, view);
  }
  const rowsOf = (view) =>
    tables[view].slice(1).map((r) => Object.fromEntries(r.map((cell, i) => [tables[view][0][i], cell])));
  const { ids, weights, count } = a.truth;
  const shares = (truth, layer) => truth.count[layer].map((c) => c / 2400);

  const experts = rowsOf('experts');
  assert.equal(experts.length, 24 * 32);
  for (const r of experts) assert.equal(Number(r.count), count[r.layer][r.expert]);
  for (const r of experts.slice(0, 40))
    assert.ok(Math.abs(Number(r.against_balance) - shares(a.truth, r.layer)[r.expert] * 32) < 1e-9);

  for (const r of rowsOf('tokens')) {
    const i = Number(r.token);
    for (let j = 0; j < 4; j++) {
      assert.equal(Number(r[`expert_${j + 1}`]), ids[4][i][j]);
      assert.ok(Math.abs(Number(r[`weight_${j + 1}`]) - weights[4][i][j]) < 2e-5);
    }
  }
  const together = (x, y) => ids[4].filter((row) => row.includes(x) && row.includes(y)).length;
  for (const r of rowsOf('pairs').slice(0, 60)) assert.equal(Number(r.together), together(Number(r.a), Number(r.b)));

  const compared = rowsOf('compare').find((r) => r.layer === '2' && count[2][r.expert] > 0);
  const ratio = shares(b.truth, 2)[compared.expert] / shares(a.truth, 2)[compared.expert];
  assert.ok(Math.abs(Number(compared.ratio) - ratio) < 1e-9);

  const domains = rowsOf('domains');
  for (const layer of [0, 5]) {
    const here = domains.filter((r) => Number(r.layer) === layer);
    const sums = new Array(32).fill(0);
    for (const r of here) sums[r.expert] += Number(r.selections);
    assert.deepEqual(sums, count[layer]);
  }
  const memory = rowsOf('memory');
  assert.equal(memory.length, await page.evaluate(() => window.moescope.page.memory.offset.length));
  const slices = memory.filter((r) => r.layer === '3' && r.expert === '9');
  const reads = await page.evaluate(() => window.moescope.page.runs[0].cells.accesses[3 * 32 + 9]);
  assert.ok(slices.length >= 3 && slices.every((r) => Number(r.accesses) === reads));
  assert.ok(rowsOf('foresight').some((r) => r.figure === 'recall' && r.foreseen_by === 'hot list'));
});

test('a picture has the colours of the screen, and the whole text', async (t) => {
  const dir = temporaryFolder(t);
  const { path } = trace(dir, 'a', '--layers', 4);
  const page = await open(t, report(dir, [path]), { colorScheme: 'dark', view: 'tokens' });
  const screen = await page.evaluate(() => {
    const text = document.querySelector('.text');
    return { shown: text.clientHeight, whole: text.scrollHeight };
  });
  const png = await readPng(t, (await saved(page, 'PNG')).path);
  assert.ok(png.height > 2 * screen.whole && screen.whole > screen.shown, 'what scrolls is there');
  await page.evaluate(() => window.moescope.store.set({ view: 'experts', relative: false }));
  await settle(page);
  const image = await readPng(t, (await saved(page, 'PNG')).path);
  const background = await page.evaluate(() => {
    const ctx = document.createElement('canvas').getContext('2d');
    ctx.fillStyle = getComputedStyle(document.documentElement).backgroundColor;
    ctx.fillRect(0, 0, 1, 1);
    return [...ctx.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  });
  const has = (rgb) => image.colors.some((c) => close([c >> 16, (c >> 8) & 255, c & 255], rgb, 2));
  assert.ok(has(background), 'the page’s colour');
  const hottest = await page.evaluate(() => {
    const bar = document.querySelector('.stage .legend-bar canvas');
    return [...bar.getContext('2d').getImageData(253, 0, 1, 1).data.slice(0, 3)];
  });
  assert.ok(has(hottest), 'the hottest cell');
});
