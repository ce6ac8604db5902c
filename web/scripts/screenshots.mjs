// Makes the pictures of the docs from a real trace: node web/scripts/screenshots.mjs TRACE [MODEL.gguf]
// Writes docs/images/experts.png (light), memory.png (dark, where a model is given) and tokens.png (dark).
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeBrowser, moescope, openBrowser } from '../../tests/web/support.mjs';

const [trace, model] = process.argv.slice(2);
if (!trace) {
  console.error('usage: node web/scripts/screenshots.mjs TRACE [MODEL.gguf]');
  process.exit(2);
}
const images = join(import.meta.dirname, '..', '..', 'docs', 'images');
const dir = mkdtempSync(join(tmpdir(), 'moescope-pictures-'));

// The hottest expert of a layer in the middle, and a token that it takes: something to look at in every picture.
const chooseSomething = () => {
  const { page, store } = window.moescope, run = page.runs[0], block = run.blocks.length >> 1, b = run.blocks[block];
  const counts = Array.from(run.cells.count.subarray(b.first_cell, b.first_cell + b.n_expert));
  const expert = counts.indexOf(Math.max(...counts)), k = b.n_expert_used, ids = run.tile.rows[block].ids;
  let token = 0;
  for (let i = Math.floor(run.tile.n * 0.6); i < run.tile.n; i++) {
    if (ids.subarray(i * k, i * k + k).includes(expert) && run.tile.token[i] >= 0) { token = i; break; }
  }
  store.set({ block, expert, token: run.tile.first + token });
};

try {
  mkdirSync(images, { recursive: true });
  const file = join(dir, 'report.html');
  execFileSync(moescope, ['report', trace, '-o', file, ...(model ? ['--model', model] : [])], { stdio: 'inherit' });
  const pictures = [['experts', 'light', 1280], ...(model ? [['memory', 'dark', 1280]] : []), ['tokens', 'dark', 1280], ['experts', 'dark', 390]];
  for (const [view, colorScheme, width] of pictures) {
    const context = await (await openBrowser()).newContext({ viewport: { width, height: 860 }, colorScheme });
    const page = await context.newPage();
    await page.goto('file://' + file + '#' + view);
    await page.waitForFunction(() => window.moescope !== undefined);
    await page.evaluate(chooseSomething);
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
