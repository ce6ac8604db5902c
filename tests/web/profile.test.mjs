// The page of a profile: experts, labels and pairs of the text that it was made of, and nothing that a profile cannot know.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { closeBrowser, moescope, open, report, settle, temporaryFolder, trace } from './support.mjs';

after(closeBrowser);

test('a profile of a labelled trace: selections, labels, pairs, the model’s slices', async (t) => {
  const dir = temporaryFolder(t);
  const gguf = join(dir, 'm.gguf');
  const { path, truth } = trace(dir, 'a', '--norms', '--labels', 'code,prose,maths', '--gpt-oss-model', gguf);
  const labelOf = (token) => truth.label[token];
  const stats = join(dir, 'p.json');
  execFileSync(moescope, ['profile', '--from-trace', path, '-o', stats], { stdio: 'ignore' });
  const file = report(dir, [join(dir, 'p.moestats')], '--model', gguf);
  const page = await open(t, file);

  const tabs = await page.$$eval('.tabs button', (all) => all.map((e) => e.dataset.value));
  assert.deepEqual(tabs, ['experts', 'memory', 'pairs', 'domains', 'hottest']);
  const counts = await page.evaluate(() => Array.from(window.moescope.page.runs[0].cells.count));
  assert.deepEqual(counts, truth.count.flat());
  assert.match(await page.textContent('.fact-tiles'), /profile/);
  assert.equal(await page.isVisible('.incomplete'), false);
  const expert = counts.findIndex((c) => c > 100);
  await page.evaluate(([block, e]) => window.moescope.store.set({ block, expert: e }), [expert >> 5, expert % 32]);
  const panel = await page.textContent('.selection');
  assert.match(panel, new RegExp(`selections${counts[expert].toLocaleString('en')}share`));
  assert.match(panel, /REAP/);
  assert.match(panel, /EAN/);
  assert.doesNotMatch(panel, /Accesses/);

  // Labels: rows of each, and the expert that each uses most above the others, as stats of the profile names it.
  await page.evaluate(() => window.moescope.store.set({ view: 'domains' }));
  await settle(page);
  const said = JSON.parse(execFileSync(moescope, ['stats', join(dir, 'p.moestats'), '--json'], { encoding: 'utf8' }));
  const rows = await page.$$eval('table.labels tbody tr', (all) =>
    all.map((tr) => [...tr.cells].map((c) => c.textContent)),
  );
  assert.equal(rows.length, 3);
  for (const [label, n, , where, own] of rows) {
    const l = said.labels.find((x) => x.label === label);
    assert.equal(Number(n.replaceAll(',', '')), truth.label.filter((x) => x === label).length);
    assert.equal(l.rows, Number(n.replaceAll(',', '')));
    if (l.expert === null) {
      assert.equal(where, 'none stands out');
      continue;
    }
    assert.equal(where, `layer ${l.layer}, expert ${l.expert}`);
    // By the truth alone: of the label's tokens, those that selected the expert.
    const ids = truth.ids[l.layer].filter((_, i) => labelOf(i) === label);
    const share = ids.filter((row) => row.includes(l.expert)).length / ids.length;
    assert.ok(Math.abs(parseFloat(own) / 100 - share) < 6e-4, `${label}: ${own} and ${share}`);
  }
  // A click leads there.
  const wanted = rows.findIndex((r) => r[3] !== 'none stands out');
  if (wanted >= 0) {
    await page.click(`table.labels tbody tr >> nth=${wanted}`);
    const now = await page.evaluate(() => window.moescope.store.now);
    assert.equal(rows[wanted][3], `layer ${now.block}, expert ${now.expert}`);
  }

  // Memory: nothing was read, so slices have the colour of their selections.
  await page.evaluate(() => window.moescope.store.set({ view: 'memory' }));
  await settle(page);
  assert.match(await page.textContent('.stage'), /how many rows selected the expert/);
  const dead = counts.filter((c) => c === 0).length;
  const perExpert = await page.evaluate(() => {
    const m = window.moescope.page.memory;
    return m.expert.filter((e, i) => e === 0 && m.layer[i] === 0).length;
  });
  const tiles = await page.$$eval('.card .fact-tile', (all) => all.map((e) => e.textContent));
  assert.ok(
    tiles.some((x) => x.startsWith(`never selected${(dead * perExpert).toLocaleString('en')}`)),
    tiles.join(' | '),
  );
  // What has no view does nothing.
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => window.moescope.store.now.view), 'memory');
});

test('profiles side by side, and beside a trace', async (t) => {
  const dir = temporaryFolder(t);
  const a = trace(dir, 'code', '--norms', '--layers', 3);
  const b = trace(dir, 'prose', '--norms', '--layers', 3, '--seed', 4);
  for (const { path } of [a, b])
    execFileSync(moescope, ['profile', '--from-trace', path, '-o', path.replace('.moetrace', '-profile.json')], {
      stdio: 'ignore',
    });
  const profile = (r) => r.path.replace('.moetrace', '-profile.moestats');
  const page = await open(t, report(dir, [profile(a), profile(b)]), { view: 'compare' });
  const csv = await page.evaluate(() => window.moescope.view('compare').table().rows);
  for (const [layer, , expert, x, y] of csv) {
    assert.ok(Math.abs(x - a.truth.count[layer][expert] / 2400) < 1e-12);
    assert.ok(Math.abs(y - b.truth.count[layer][expert] / 2400) < 1e-12);
  }
  const mixed = await open(t, report(dir, [a.path, profile(a)]), { view: 'compare' });
  const ratios = await mixed.evaluate(() =>
    window.moescope
      .view('compare')
      .table()
      .rows.map((r) => r[5]),
  );
  for (const r of ratios) assert.ok(Number.isNaN(r) || Math.abs(r - 1) < 1e-12);
  // The tokens of the one are not those of the other.
  await mixed.evaluate(() => window.moescope.store.set({ view: 'tokens', run: 1 }));
  await settle(mixed);
  assert.match(await mixed.textContent('.stage'), /A profile holds sums, no tokens/);
});
