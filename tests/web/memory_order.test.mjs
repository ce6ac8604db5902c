// The memory view of a reordered model can show its experts where they lay before: then it is the view of the first model.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { closeBrowser, moescope, open, report, temporaryFolder } from './support.mjs';

after(closeBrowser);

const demo = join(import.meta.dirname, '..', '..', 'models', 'demo.gguf');
const run = (...args) => execFileSync(moescope, args.map(String), { stdio: ['ignore', 'ignore', 'pipe'] });

// [slice in file order] {name of its place, accesses, colour}
const slices = (page) =>
  page.evaluate(() => {
    const v = window.moescope.view('memory');
    const place = new Map();
    return Array.from(v.m.expert, (e, i) => {
      if (e < 0) return null;
      const tensor = v.m.tensors[v.m.tensor[i]];
      place.set(tensor, (place.get(tensor) ?? -1) + 1);
      return { name: `${tensor}[${place.get(tensor)}]`, accesses: v.accesses(i), color: v.colorOf(i) };
    }).filter(Boolean);
  });

test('a reordered model before and after', async (t) => {
  const dir = temporaryFolder(t);
  const record = (model, name) => {
    const path = join(dir, name);
    run('run', '-q', '-m', model, '-p', 'def mean(values):', '-n', 12, '--temp', 0, '-t', 1, '-o', path);
    return path;
  };
  const first = record(demo, 'first.moetrace');
  const reordered = join(dir, 'reordered.gguf');
  run('reorder', '-q', demo, '--trace', first, '-o', reordered);

  const old = await open(t, report(dir, [first], '--model', demo), { view: 'memory' });
  assert.equal(await old.isVisible('[aria-label="Order of experts in the file"]'), false);
  const want = await slices(old);
  const page = await open(t, report(dir, [record(reordered, 'second.moetrace')], '--model', reordered), {
    view: 'memory',
  });
  const now = await slices(page);
  assert.notDeepEqual(now, want);
  // Hot experts come first: the first half of the places has most of the accesses.
  const inFront = now.filter((s) => Number(/\[(\d+)\]$/.exec(s.name)[1]) < 16).reduce((n, s) => n + s.accesses, 0);
  const all = now.reduce((n, s) => n + s.accesses, 0);
  assert.ok(inFront > 0.6 * all, `${inFront} of ${all}`);
  await page.click('[aria-label="Order of experts in the file"] [data-value="first"]');
  assert.deepEqual(await slices(page), want);
  await page.click('[aria-label="Order of experts in the file"] [data-value="now"]');
  assert.deepEqual(await slices(page), now);
});
