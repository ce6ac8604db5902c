// Makes the pictures of the docs from a real trace: node web/scripts/screenshots.mjs TRACE [MODEL.gguf [LAYER/EXPERT]]
// Writes docs/images/*.png: experts and domains light, tokens and cache dark, memory light where a model is given, and
// experts as a phone shows them. Domains need a trace of `moescope run --label-key`.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeBrowser, moescope, openBrowser } from '../../tests/web/support.mjs';

const [trace, model, wanted] = process.argv.slice(2);
if (!trace) {
  console.error('usage: node web/scripts/screenshots.mjs TRACE [MODEL.gguf [LAYER/EXPERT]]');
  process.exit(2);
}
const images = join(import.meta.dirname, '..', '..', 'docs', 'images');
const dir = mkdtempSync(join(tmpdir(), 'moescope-pictures-'));

// The expert that was asked for, else the hottest of a layer in the middle; and the generated token amid the stretch of
// text that it takes most of: something to look at in every picture.
const chooseSomething = (asked) => {
  const { page, store, view } = window.moescope;
  const run = page.runs[0];
  const [layer, id] = (asked ?? '').split('/').map(Number);
  const block = asked ? run.blocks.findIndex((b) => b.layer === layer) : run.blocks.length >> 1;
  const b = run.blocks[block];
  const counts = Array.from(run.cells.count.subarray(b.first_cell, b.first_cell + b.n_expert));
  const expert = asked ? id : counts.indexOf(Math.max(...counts));
  const k = b.n_expert_used;
  const ids = run.tile.rows[block].ids;
  const takes = Array.from({ length: run.tile.n }, (_, i) => (ids.subarray(i * k, i * k + k).includes(expert) ? 1 : 0));
  const stretch = 250;
  let best = 0;
  let most = -1;
  for (let i = 0, sum = 0; i < takes.length; i++) {
    sum += takes[i] - (i >= stretch ? takes[i - stretch] : 0);
    if (sum > most && i >= stretch - 1) {
      most = sum;
      best = i - stretch + 1;
    }
  }
  const token = takes.findIndex((t, i) => i > best + 60 && t === 1 && run.tile.phase[i] === 1);
  store.set({ block, expert, token: run.tile.first + Math.max(token, 0) });
  if (store.now.view === 'tokens') {
    void view('tokens').showFrom(run.tile.first + best);
    document.querySelector('[data-value="selected"]').click();
  }
};

try {
  mkdirSync(images, { recursive: true });
  const file = join(dir, 'report.html');
  execFileSync(moescope, ['report', trace, '-o', file, ...(model ? ['--model', model] : [])], { stdio: 'inherit' });
  const pictures = [
    ['experts', 'light', 1280],
    ...(model ? [['memory', 'light', 1280]] : []),
    ['tokens', 'dark', 1280],
    ['domains', 'light', 1280],
    ['cache', 'dark', 1280],
    ['experts', 'dark', 390],
  ];
  for (const [view, colorScheme, width] of pictures) {
    const context = await (await openBrowser()).newContext({ viewport: { width, height: 860 }, colorScheme });
    const page = await context.newPage();
    await page.goto('file://' + file + '#' + view);
    await page.waitForFunction(() => window.moescope !== undefined);
    await page.evaluate(chooseSomething, wanted);
    await page.waitForTimeout(300);
    const out = join(images, `${view}${width < 500 ? '-narrow' : ''}.png`);
    await page.screenshot({ path: out, fullPage: width > 500 && view !== 'tokens' });
    console.log(out);
    await context.close();
  }
} finally {
  await closeBrowser();
  rmSync(dir, { recursive: true, force: true });
}
