// What a reader sees first: what stands out, chance beside the figures, whether the run is whole, words and keys.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, truncateSync, copyFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { closeBrowser, moescope, open, report, settle, temporaryFolder, trace } from './support.mjs';

after(closeBrowser);

const stats = (path) =>
  execFileSync(moescope, ['stats', path], { encoding: 'utf8', env: { ...process.env, COLUMNS: '400' } });
const findings = (page) => page.$$eval('.finding', (all) => all.map((e) => e.textContent));

test('what stands out: the sentences of stats, each leading to where it is seen', async (t) => {
  const dir = temporaryFolder(t);
  const { path, truth } = trace(dir, 'a', '--layers', 6);
  const page = await open(t, report(dir, [path]));
  const shown = await findings(page);
  assert.ok(shown.length >= 1 && shown.length <= 3);
  // The largest ratio to the fair share, by the truth alone.
  const ratios = truth.count.map((layer) => Math.max(...layer) / (2400 / 32));
  const layer = ratios.indexOf(Math.max(...ratios));
  const expert = truth.count[layer].indexOf(Math.max(...truth.count[layer]));
  const leans = new RegExp(
    `^Layer ${layer} leans on expert ${expert}: ${ratios[layer].toFixed(1)} times its fair share`,
  );
  assert.match(shown[0], leans);
  const limit = /stays below ([\d.]+)/;
  const said = stats(path).replace(/\s+/g, ' ');
  assert.match(said, new RegExp(`Layer ${layer} leans on expert ${expert}: ${ratios[layer].toFixed(1)} times`));
  assert.equal(limit.exec(shown[0])[1].replace(/\.$/, ''), limit.exec(said)[1].replace(/\.$/, ''));
  const dead = truth.count.flat().filter((c) => c === 0).length;
  assert.ok(
    shown.some((s) => s.startsWith(`${dead} of 192 experts were never used`)),
    shown.join('\n'),
  );

  await page.click('.finding >> nth=0');
  const there = await page.evaluate(() => window.moescope.store.now);
  assert.deepEqual([there.view, there.block, there.expert], ['experts', layer, expert]);
  await page.click('.finding:has-text("never used")');
  await settle(page);
  assert.equal(await page.evaluate(() => window.moescope.store.now.view), 'hottest');
  assert.equal((await page.$$('.hottest tbody tr')).length, dead);
  await page.waitForFunction(() => /#hottest\?.*filter=dead/.test(location.href)); // it follows a moment later
});

test('nothing stands out of random routing', async (t) => {
  const dir = temporaryFolder(t);
  const { path } = trace(dir, 'flat', '--layers', 4, '--flat', '--dead', 0, '--prompt', 3000, '--decode', 600);
  const page = await open(t, report(dir, [path]));
  assert.deepEqual(await findings(page), []);
  assert.equal(await page.isVisible('.findings'), false);
});

// Means over random rows of k distinct experts: entropy and experts never selected.
function byDraws(rows, k, n, draws) {
  let entropy = 0;
  let dead = 0;
  for (let d = 0; d < draws; d++) {
    const count = new Array(n).fill(0);
    for (let r = 0; r < rows; r++) {
      const picked = new Set();
      while (picked.size < k) picked.add(Math.floor(Math.random() * n));
      for (const e of picked) count[e]++;
    }
    const p = count.map((c) => c / (rows * k)).filter((x) => x > 0);
    entropy -= p.reduce((s, x) => s + x * Math.log(x), 0) / Math.log(n) / draws;
    dead += count.filter((c) => c === 0).length / draws;
  }
  return { entropy, dead };
}

test('chance stands beside evenness, unused experts and the distance of domains', async (t) => {
  const dir = temporaryFolder(t);
  for (const [prompt, decode] of [
    [8, 4],
    [400, 200],
  ]) {
    const rows = prompt + decode;
    const { path } = trace(dir, `a${rows}`, '--layers', 2, '--prompt', prompt, '--decode', decode);
    const page = await open(t, report(dir, [path]));
    const expected = byDraws(rows, 4, 32, 4000);
    const shown = await page.$$eval('.selection .facts dt', (all) =>
      all.filter((e) => e.textContent.includes('by chance')).map((e) => Number(e.nextElementSibling.textContent)),
    );
    assert.equal(shown.length, 2);
    assert.ok(Math.abs(shown[0] - expected.entropy) < 0.002, `${shown[0]} ${expected.entropy}`);
    assert.ok(Math.abs(shown[1] - expected.dead) < 0.2, `${shown[1]} ${expected.dead}`);
    assert.match(await page.textContent('.fact-tiles'), new RegExp(`random routing: ${shown[0].toFixed(3)}`));
  }
  // Two halves of one routing are as far apart as chance says, on average over layers.
  const { path } = trace(dir, 'd', '--layers', 24, '--labels', 'one,two', '--flat', '--dead', 0);
  const page = await open(t, report(dir, [path]), { view: 'domains' });
  const [measured, chance] = await page.evaluate(() => {
    const v = window.moescope.view('domains');
    const mean = (of) => Array.from({ length: 24 }, (_, b) => of(b)).reduce((s, x) => s + x, 0) / 24;
    return [mean((b) => v.distance(0, 1, b)), mean((b) => v.chance(0, 1, b))];
  });
  assert.ok(Math.abs(measured - chance) < 0.08 * chance, `${measured} ${chance}`);
});

test('a run that is not whole says so', async (t) => {
  const dir = temporaryFolder(t);
  const { path } = trace(dir, 'whole', '--layers', 2);
  const cut = join(dir, 'cut.moetrace');
  copyFileSync(path, cut);
  truncateSync(cut, Math.floor(statSync(path).size * 0.7));
  const page = await open(t, report(dir, [path, cut]));
  assert.equal(await page.isVisible('.incomplete'), false);
  assert.deepEqual(await page.$$eval('[aria-label="Run"] option', (all) => all.map((o) => o.textContent)), [
    'whole',
    'cut (incomplete)',
  ]);
  await page.selectOption('[aria-label="Run"]', '1');
  assert.match(
    await page.textContent('.incomplete'),
    /^incomplete: the (file was cut, [\d,]+ bytes? at its end|program)/,
  );
});

test('"?" explains the words and the keys; the licences travel in the page', async (t) => {
  const dir = temporaryFolder(t);
  const file = report(dir, [trace(dir, 'a', '--layers', 2).path]);
  const page = await open(t, file);
  await page.keyboard.press('?');
  const help = await page.textContent('dialog[open]');
  for (const word of ['evenness', 'REAP', 'EAN', 'random routing', 'lift', 'ubatch', 'slot', 'Jensen–Shannon', 'Ctrl'])
    assert.ok(help.includes(word), word);
  // Every metric that has a button is explained.
  const metrics = await page.$$eval('[aria-label="Metric"] button', (all) => all.map((e) => e.textContent));
  for (const m of metrics.filter((m) => !['Count', 'Mean gate', 'Accesses'].includes(m)))
    assert.ok(help.toLowerCase().includes(m.toLowerCase()), m);
  assert.match(help, /access, read/);
  await page.keyboard.press('Escape');
  await page.click('text=Licences');
  const licences = await page.textContent('dialog[open] .licences');
  assert.match(licences, /Mike Bostock[^]*Permission to use, copy, modify, and\/or distribute/);
  const used = readFileSync(join(import.meta.dirname, '..', '..', 'web', 'licences.txt'), 'utf8').trim();
  assert.ok(licences.includes(used), 'all of web/licences.txt');
  const own = readFileSync(join(import.meta.dirname, '..', '..', 'LICENSE'), 'utf8').trim();
  assert.ok(licences.includes(own), 'moescope’s own');
});

test('keys reach every view, the tenth by 0', async (t) => {
  const dir = temporaryFolder(t);
  const gguf = join(dir, 'm.gguf');
  const a = trace(dir, 'a', '--layers', 24, '--labels', 'code,prose', '--gpt-oss-model', gguf);
  const b = trace(dir, 'b', '--layers', 24, '--seed', 2);
  const page = await open(t, report(dir, [a.path, b.path], '--model', gguf));
  const views = await page.$$eval('.tabs button', (all) => all.map((e) => e.dataset.value));
  assert.equal(views.length, 9);
  for (let i = 0; i < views.length; i++) {
    await page.keyboard.press(String(i + 1));
    assert.equal(await page.evaluate(() => window.moescope.store.now.view), views[i]);
  }
  // In a picture, 0 resets the zoom and stays there.
  await page.keyboard.press('1');
  await page.focus('canvas.matrix');
  await page.keyboard.press('+');
  assert.ok(await page.isVisible('.zoom-reset'));
  await page.keyboard.press('0');
  assert.equal(await page.isVisible('.zoom-reset'), false);
  assert.equal(await page.evaluate(() => window.moescope.store.now.view), 'experts');
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), 'Find text in the tokens');
});

test('memory: a pixel shows the hottest slice or the mean', async (t) => {
  const dir = temporaryFolder(t);
  const gguf = join(dir, 'm.gguf');
  const { path } = trace(dir, 'a', '--gpt-oss-model', gguf);
  const page = await open(t, report(dir, [path], '--model', gguf), { view: 'memory', width: 500 });
  assert.match(
    await page.textContent('.stage'),
    /share a column of pixels, it shows the hottest of them, or their mean/,
  );
  // Columns that several whole slices fall into, their reads as the contract has them.
  const look = () =>
    page.evaluate(() => {
      const m = window.moescope.page.memory;
      const v = window.moescope.view('memory');
      const canvas = document.querySelector('canvas.strip');
      const ctx = canvas.getContext('2d');
      const bar = document.querySelector('.stage .legend-bar canvas').getContext('2d');
      const reads = m.accesses[0];
      const most = Math.max(...Array.from(reads).filter((_, i) => m.expert[i] >= 0));
      const columns = new Map();
      const wide = Array.from(m.offset, (_, i) => v.boxOf(i)).filter((b) => b.width >= 1.2);
      for (let i = 0; i < m.offset.length; i++) {
        const { x, width } = v.boxOf(i);
        if (width >= 1.2 || m.expert[i] < 0) continue;
        const c = Math.floor(x);
        columns.set(c, [...(columns.get(c) ?? []), i]);
      }
      const out = [];
      for (const [c, all] of columns) {
        const aside = wide.some((w) => w.x < c + 1 && w.x + w.width > c); // reaches into the column
        if (all.length < 2 || aside) continue;
        const bytes = all.reduce((s, i) => s + m.size[i], 0);
        const mean = all.reduce((s, i) => s + m.size[i] * Math.max(0, reads[i]), 0) / bytes / most;
        const hottest = Math.max(...all.map((i) => reads[i])) / most;
        const legend = (f) => [...bar.getImageData(Math.round(f * 253), 0, 1, 1).data.slice(0, 3)];
        const px = Math.floor((c + 0.5) * devicePixelRatio);
        const pixel = [...ctx.getImageData(px, 60 * devicePixelRatio, 1, 1).data.slice(0, 3)];
        out.push({ pixel, mean: legend(mean), hottest: legend(hottest), far: hottest - mean, n: all.length });
      }
      return out;
    });
  const off = (a, b) => Math.max(...a.map((v, i) => Math.abs(v - b[i])));
  const hottest = (await look()).filter((c) => c.hottest && c.far > 0.1);
  assert.ok(hottest.length > 20, `${hottest.length} columns`);
  for (const c of hottest) assert.ok(off(c.pixel, c.hottest) <= 6, JSON.stringify(c));
  await page.click('text=Mean');
  await settle(page);
  const mean = (await look()).filter((c) => c.far > 0.1);
  for (const c of mean) assert.ok(off(c.pixel, c.mean) <= 10, JSON.stringify(c));
  assert.match(await page.evaluate(() => location.href), /pixel=mean/);
});

test('compare: the scale reaches as far as the ratios', async (t) => {
  const dir = temporaryFolder(t);
  const a = trace(dir, 'a', '--layers', 3);
  const b = trace(dir, 'b', '--layers', 3, '--seed', 2);
  const flat = [1, 2].map((s) =>
    trace(dir, `f${s}`, '--layers', 3, '--flat', '--dead', 0, '--seed', s, '--prompt', 9000),
  );
  const far = (x, y) => {
    const logs = x.truth.count.flatMap((layer, l) => {
      const [nx, ny] = [x, y].map((r) => r.truth.count[l].reduce((s, c) => s + c, 0));
      return layer.map((c, e) => Math.abs(Math.log2(y.truth.count[l][e] / ny / (c / nx))));
    });
    const known = logs.filter(Number.isFinite).sort((p, q) => p - q);
    return known[Math.ceil(0.99 * known.length) - 1];
  };
  for (const [x, y] of [[a, b], flat]) {
    const page = await open(t, report(dir, [x.path, y.path]), { view: 'compare' });
    const [low, , high] = await page.$$eval('.stage .legend-scale span', (all) => all.map((e) => e.textContent));
    const reach = Math.log2(parseFloat(high));
    const wanted = far(x, y);
    assert.ok(reach >= Math.min(wanted, 6) - 0.01, `${low} … ${high} for 2^${wanted}`);
    assert.ok(reach < Math.max(0.3, 2 * wanted + 0.1), `${high} for 2^${wanted}`);
  }
});

test('curves are named where they end, and no name covers another', async (t) => {
  const dir = temporaryFolder(t);
  const { path } = trace(dir, 'a', '--layers', 6);
  const file = report(dir, [path]);
  for (const width of [1440, 390])
    for (const view of ['cache', 'foresight']) {
      const page = await open(t, file, { view, width });
      const charts = await page.$$eval('.chart', (all) =>
        all.map((svg) => {
          const edge = svg.getBoundingClientRect();
          const curves = [...svg.querySelectorAll('.curve')].map((c) => Object.values(c.dataset)[0]);
          const box = (e) => e.getBoundingClientRect();
          const names = [...svg.querySelectorAll('.end-label')].map((e) => ({
            text: e.textContent,
            top: box(e).top,
            bottom: box(e).bottom,
            inside: box(e).right <= edge.right + 1 && box(e).top >= edge.top - 2 && box(e).bottom <= edge.bottom + 2,
          }));
          return { curves, names };
        }),
      );
      for (const { curves, names } of charts) {
        assert.ok(names.length >= 4, view);
        for (const n of names) assert.ok(curves.includes(n.text) && n.inside, `${n.text} at ${width}`);
        const sorted = [...names].sort((p, q) => p.top - q.top);
        sorted.slice(1).forEach((n, i) => assert.ok(n.top >= sorted[i].top + 10, `${n.text} over ${sorted[i].text}`));
      }
    }
});

test('columns of numbers have one number of decimals; a phone shows the view without scrolling', async (t) => {
  const dir = temporaryFolder(t);
  const { path } = trace(dir, 'a', '--norms');
  const file = report(dir, [path]);
  const page = await open(t, file, { view: 'hottest' });
  const decimals = await page.$$eval('.hottest tbody tr', (rows) => {
    const out = {};
    for (const r of rows)
      for (const c of r.cells) {
        const digits = /^-?[\d,]+(?:\.(\d+))?(?: %|×)?$/.exec(c.textContent);
        if (digits) (out[c.dataset.column] ??= new Set()).add((digits[1] ?? '').length);
      }
    return Object.fromEntries(Object.entries(out).map(([k, v]) => [k, [...v]]));
  });
  for (const column of ['share', 'weight_mean', 'reap', 'ean', 'balance'])
    assert.equal(decimals[column].length, 1, column);
  const phone = await open(t, file, { width: 390, height: 844 });
  const top = await phone.$eval('.stage', (e) => e.getBoundingClientRect().top);
  assert.ok(top < 500, `the view begins at ${top} of 844`);
  assert.ok(await phone.$eval('.fact-tiles', (e) => e.getBoundingClientRect().height < 80));
});
