// The view Foresight shows what `moescope analyze prefetch` prints: recalls in full, and what a token waits at a machine that
// lies in the simulation's table; between such machines it follows what is simulated there.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, test } from 'node:test';
import { closeBrowser, moescope, open, report, serve, temporaryFolder, trace } from './support.mjs';

after(closeBrowser);

const analyze = (path, ...options) =>
  JSON.parse(
    execFileSync(moescope, ['analyze', 'prefetch', path, '--json', ...options.map(String)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  );
const near = (a, b, what, tolerance = 1e-9) =>
  assert.ok(
    (a === null && Number.isNaN(b)) || Math.abs(a - b) <= tolerance * Math.max(1e-6, Math.abs(a)),
    `${what}: ${a} and ${b}`,
  );

async function shownForesight(page) {
  await page.waitForSelector('table.recall tbody tr');
  return page.evaluate(() => {
    const f = window.moescope.view('foresight').caches.now.foresight;
    return { ...f, recall: [...f.recall], layer_recall: [...f.layer_recall] };
  });
}

function compareRecalls(shown, said) {
  const names = ['recall_k', 'recall_2k', 'recall_3k'];
  for (const row of said.recall)
    names.forEach((key, m) => near(row[key], shown.recall[shown.lists.indexOf(row.foresight) * 3 + m], key));
  for (const row of said.layer_recall) {
    const at = shown.layer.indexOf(row.layer) * shown.lists.length + shown.lists.indexOf(row.foresight);
    near(row.recall, shown.layer_recall[at * 3 + row.m / said.layer_recall[0].m - 1], `layer ${row.layer}`);
  }
}

// The table below the sliders, with this machine: seconds, and bytes, as the page computes them.
const atMachine = (page, slot, bandwidthGib, layerMs, sliceMib) =>
  page.evaluate(
    ([slot, bandwidth, ms, mib]) => {
      const v = window.moescope.view('foresight');
      v.slots.value = String(slot);
      v.bandwidth.value = String(Math.log2(bandwidth));
      v.layerMs.value = String(ms);
      v.sliceMib.value = String(mib);
      v.drawStall();
      return [...document.querySelectorAll('table.stall tbody tr')].map((tr) => [
        tr.dataset.by,
        ...[...tr.cells].slice(1).map((c) => c.textContent),
      ]);
    },
    [slot, bandwidthGib, layerMs, sliceMib],
  );

test('recalls, and what a token waits', async (t) => {
  const dir = temporaryFolder(t);
  const { path } = trace(dir, 'a', '--decode', 200);
  const page = await open(t, report(dir, [path]), { view: 'foresight' });
  const shown = await shownForesight(page);
  compareRecalls(shown, analyze(path));

  // A slice of 1 MiB at 2 GiB/s takes half of 1/1024 s: a time that was simulated.
  for (const slot of [0, shown.slots.length - 1]) {
    const said = analyze(
      path,
      '--slots',
      shown.slots[slot],
      '--bandwidth',
      '2G',
      '--layer-time',
      1e3 / 1024,
      '--expert-bytes',
      '1M',
    ).stall;
    const rows = await atMachine(page, slot, 2, 1e3 / 1024, 1);
    assert.deepEqual(
      rows.map((r) => r[0]),
      said.map((s) => s.foresight),
    );
    said.forEach((s, i) => {
      const [name, waits, hidden] = rows[i];
      const decimals = /\.(\d+)/.exec(waits)?.[1].length ?? 0;
      assert.equal(waits, `${s.stall_ms_per_token.toFixed(decimals)} ms`, name);
      const share = hidden.startsWith('<') ? 0 : parseFloat(hidden) / 100;
      if (name !== 'none') assert.ok(Math.abs(s.hidden - share) < 6e-4, `${name} hides ${hidden}`);
    });
  }
  // Between two times of the table: without prefetching exact, with it close.
  const said = analyze(
    path,
    '--slots',
    shown.slots[0],
    '--bandwidth',
    '2G',
    '--layer-time',
    0.7,
    '--expert-bytes',
    '1M',
  ).stall;
  (await atMachine(page, 0, 2, 0.7, 1)).forEach(([name, waits], i) => {
    const tolerance = name === 'none' ? 0.006 : 0.1;
    near(said[i].stall_ms_per_token, parseFloat(waits), `${name} between`, tolerance);
  });

  const { url } = await serve(t, path);
  compareRecalls(await shownForesight(await open(t, url, { view: 'foresight' })), analyze(path));
});
