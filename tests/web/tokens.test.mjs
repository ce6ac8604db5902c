// Finding one's way in the text: search, and the list of prompts or requests.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { closeBrowser, moescope, open, report, serve, settle, temporaryFolder, trace } from './support.mjs';

after(closeBrowser);

// Each sequence's tokens with their texts, as the page has them; the search itself is not used.
const sequencesOf = (page) =>
  page.evaluate(() => {
    const { tile } = window.moescope.page.runs[0];
    const text = new Map();
    let begin = 0;
    tile.pieces.token.forEach((id, i) => {
      text.set(id, new TextDecoder().decode(tile.pieces.bytes.slice(begin, tile.pieces.end[i])));
      begin = tile.pieces.end[i];
    });
    const out = {};
    for (let i = 0; i < tile.n; i++) (out[tile.seq[i]] ??= []).push([tile.first + i, text.get(tile.token[i])]);
    return Object.values(out);
  });
// All places of a text, by brute force: from every token and every character in it.
function places(sequences, wanted) {
  const found = [];
  for (const tokens of sequences) {
    const whole = tokens
      .map(([, text]) => text)
      .join('')
      .toLowerCase();
    let at = 0;
    for (const [number, text] of tokens) {
      for (let c = 0; c < text.length; c++) if (whole.startsWith(wanted.toLowerCase(), at + c)) found.push(number);
      at += text.length;
    }
  }
  return found.sort((a, b) => a - b);
}

test('search: within a token, across tokens, forward and back, none', async (t) => {
  const dir = temporaryFolder(t);
  const { path } = trace(dir, 'a', '--layers', 3, '--sequences', 2);
  const page = await open(t, report(dir, [path]), { view: 'tokens' });
  const sequences = await sequencesOf(page);
  const [, first] = sequences[0][10];
  const [, second] = sequences[0][11];
  const selected = () => page.evaluate(() => window.moescope.store.now.token);
  for (const wanted of [first.slice(0, 2), (first + second).toUpperCase(), first.slice(-1) + second.slice(0, 1)]) {
    const expected = places(sequences, wanted);
    assert.ok(expected.length > 0, wanted);
    await page.evaluate(() => window.moescope.store.set({ token: null }));
    await page.fill('[aria-label="Find text in the tokens"]', wanted);
    const seen = [];
    for (let i = 0; i < Math.min(3, new Set(expected).size); i++) {
      await page.keyboard.press('Enter');
      seen.push(await selected());
    }
    assert.deepEqual(seen, [...new Set(expected)].slice(0, seen.length));
    assert.match(await page.textContent('.finder [role=status]'), new RegExp(`of ${expected.length}$`));
    await page.keyboard.press('Shift+Enter');
    const before = [...new Set(expected)];
    assert.equal(await selected(), seen.length > 1 ? before[seen.length - 2] : before.at(-1));
  }
  const marked = await page.$$eval('.token.found', (all) => all.map((e) => Number(e.dataset.token)));
  assert.ok(marked.length >= 2);
  await page.fill('[aria-label="Find text in the tokens"]', 'nowhere at all');
  assert.match(await page.textContent('.finder [role=status]'), /nowhere/);
  assert.equal((await page.$$('.token.found')).length, 0);
});

test('prompts: where each begins, how long it is, its label', async (t) => {
  const dir = temporaryFolder(t);
  const labels = ['code', 'prose', 'maths']; // each begins with the position 0
  const { path, truth } = trace(dir, 'a', '--layers', 3, '--labels', labels.join());
  const page = await open(t, report(dir, [path]), { view: 'tokens' });
  const listed = await page.$$eval('[aria-label="Prompt or request"] option', (all) => all.map((o) => o.textContent));
  assert.equal(listed.length, 3);
  for (let i = 0; i < 3; i++) {
    const first = truth.label.indexOf(labels[i]);
    const size = truth.label.filter((x) => x === labels[i]).length;
    // The trace has a prompt of 400 tokens; of the others only the last token is computed, as if a cache held the rest.
    const prefilled = i === 0 ? 400 : 1;
    const expected = new RegExp(`^Prompt ${i + 1} · ${labels[i]} · .*${prefilled} \\+ ${size - prefilled} tokens$`);
    assert.match(listed[i], expected);
    await page.selectOption('[aria-label="Prompt or request"]', String(i));
    assert.equal(await page.evaluate(() => window.moescope.store.now.token), first);
    // The list follows the selection.
    await page.evaluate((token) => window.moescope.store.set({ token }), first + size - 1);
    await settle(page);
    assert.equal(await page.$eval('[aria-label="Prompt or request"]', (e) => e.selectedIndex), i);
  }
});

test('a served page searches on in tokens that it has not loaded', async (t) => {
  const dir = temporaryFolder(t);
  const file = join(dir, 'text.txt');
  const word = (i) => [...String(i)].map((d) => 'abcdefghij'[d]).join(''); // each only once
  writeFileSync(file, Array.from({ length: 9000 }, (_, i) => ' ' + word(i)).join(''));
  const { path } = trace(dir, 'long', '--layers', 2, '--prompt', 9000, '--decode', 20, '--text', file);
  const whole = await open(t, report(dir, [path]), { view: 'tokens' });
  const texts = (await sequencesOf(whole)).flat();
  const { url } = await serve(t, path);
  const page = await open(t, url, { view: 'tokens' });
  const loaded = await page.evaluate(() => window.moescope.page.runs[0].tile.n);
  // A text of two tokens that occurs beyond what is loaded and not in it.
  const pairs = texts.slice(0, -1).map(([number, text], i) => [number, text + texts[i + 1][1]]);
  const near = new Set(pairs.filter(([n]) => n < loaded + 4200).map(([, p]) => p));
  const wanted = pairs.find(([n, p]) => n > loaded + 4200 && !near.has(p));
  assert.ok(loaded < 9000 && wanted, `${loaded} tokens are loaded`);
  await page.fill('[aria-label="Find text in the tokens"]', wanted[1]);
  await page.keyboard.press('Enter');
  await page.waitForFunction((n) => window.moescope.store.now.token === n, places([texts], wanted[1])[0]);
});

test('a served page lists all prompts, and goes to tokens that it has not loaded', async (t) => {
  const dir = temporaryFolder(t);
  const { path } = trace(dir, 'a', '--layers', 2, '--prompt', 6000, '--decode', 900, '--sequences', 3);
  const { url } = await serve(t, path);
  const page = await open(t, url, { view: 'tokens' });
  await page.waitForSelector('[aria-label="Prompt or request"] option:nth-child(3)', { state: 'attached' });
  const served = await page.$$eval('[aria-label="Prompt or request"] option', (all) => all.map((o) => o.textContent));
  // In a report, which has all tokens, the page finds them itself.
  const whole = await open(t, report(dir, [path]), { view: 'tokens' });
  const found = await whole.$$eval('[aria-label="Prompt or request"] option', (all) => all.map((o) => o.textContent));
  const sizes = (list) => list.map((o) => [/^Prompt \d+/.exec(o)[0], /\d[\d,]* \+ \d[\d,]* tokens$/.exec(o)[0]]);
  assert.equal(found.length, 3);
  assert.deepEqual(sizes(served), sizes(found));
  const wanted = 6400;
  assert.ok((await page.evaluate(() => window.moescope.page.runs[0].tile.n)) < wanted);
  const link = await open(t, url, { view: `tokens?token=${wanted}` });
  await link.waitForSelector(`[data-token="${wanted}"][aria-selected="true"]`);
  const at = await link.$eval('[aria-label="Prompt or request"]', (e) => e.selectedIndex);
  const seq = await whole.evaluate((n) => window.moescope.page.runs[0].tile.seq[n], wanted);
  const first = await whole.evaluate(() => [...new Set(window.moescope.page.runs[0].tile.seq)]);
  await link.waitForFunction(
    (i) => document.querySelector('[aria-label="Prompt or request"]').selectedIndex === i,
    first.indexOf(seq),
  );
  assert.ok(at >= 0);
});

test('prompts of recorded traces: those that stats --requests lists', async (t) => {
  const dir = temporaryFolder(t);
  const inputs = join(import.meta.dirname, '..', 'golden', 'answers', 'inputs');
  let compared = 0;
  for (const name of readdirSync(inputs).filter((f) => f.endsWith('.moetrace'))) {
    let said;
    try {
      said = JSON.parse(
        execFileSync(moescope, ['stats', '--requests', '--json', join(inputs, name)], {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'ignore'],
        }),
      ).requests;
    } catch {
      continue; // damaged, or without rows
    }
    if (said.length < 2) continue;
    const page = await open(t, report(dir, [join(inputs, name)]), { view: 'tokens' });
    const options = await page.$$eval('[aria-label="Prompt or request"] option', (all) =>
      all.map((o) => o.textContent),
    );
    const sizes = options.map((o) =>
      /([\d,]+) \+ ([\d,]+) tokens$/
        .exec(o)
        .slice(1, 3)
        .map((n) => Number(n.replaceAll(',', ''))),
    );
    assert.deepEqual(
      sizes,
      said.map((r) => [r.prefilled, r.generated]),
      name,
    );
    compared++;
    await page.close();
  }
  assert.ok(compared >= 3, `${compared} traces`);
});
