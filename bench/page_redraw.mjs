// How long the page takes to redraw a matrix of 1,000,000 cells, measured in the page: 1,000 layers of 1,000 experts
// through the real report. Prints medians over the redraws:
//   new values  a million new cells, found for each pixel, coloured and drawn (what a change of metric costs)
//   recolour    the same cells through a new colour table (what a change of theme costs)
//   zoom        another part of the cells: the frames of zooming in, from the whole to a hundredth
// One pixel is read back after each, so that the time holds the drawing itself and not only its order.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeBrowser, makeTrace, moescope, openBrowser } from '../tests/web/support.mjs';

const repeats = 60;
const dir = mkdtempSync(join(tmpdir(), 'moescope-bench-'));
try {
  const trace = join(dir, 'big.moetrace');
  const file = join(dir, 'big.html');
  execFileSync(makeTrace, [
    '--out',
    trace,
    '--layers',
    '1000',
    '--experts',
    '1000',
    '--used',
    '8',
    '--prompt',
    '24',
    '--decode',
    '0',
    '--flat',
  ]);
  execFileSync(moescope, ['report', trace, '-o', file], { stdio: 'ignore' });
  const page = await (await openBrowser()).newPage({ viewport: { width: 1280, height: 900 } });
  await page.goto('file://' + file);
  await page.waitForFunction(() => window.moescope !== undefined, null, { timeout: 120000 });
  const times = await page.evaluate(async (n) => {
    const view = window.moescope.view('experts');
    const m = view.matrix;
    const canvas = m.element.querySelector('canvas.matrix');
    const ctx = canvas.getContext('2d');
    if (m.raster.cols * m.raster.rows !== 1e6) throw new Error(`${m.raster.cols} × ${m.raster.rows} cells`);
    const table = new Uint32Array(256);
    const out = { 'new values': [], recolour: [], zoom: [] };
    const cells = [0, 1].map((seed) => Uint8Array.from({ length: 1e6 }, (_, c) => (c * 2654435761 + seed * 97) >>> 24));
    const whole = m.transform;
    for (let i = 0; i < n; i++) {
      for (let c = 0; c < 256; c++) table[c] = (0xff000000 | (c * 65793 + i)) >>> 0;
      for (const kind of Object.keys(out)) {
        const begin = performance.now();
        if (kind === 'new values') m.setCells(cells[i % 2], 1000, 1000);
        if (kind === 'recolour') m.setColors(table.slice());
        if (kind === 'zoom') m.transform = whole.scale(10 ** ((i + 1) / n));
        m.redraw();
        ctx.getImageData(canvas.width >> 1, canvas.height >> 1, 1, 1);
        out[kind].push(performance.now() - begin);
        m.transform = whole;
      }
      await new Promise((done) => requestAnimationFrame(done));
    }
    return out;
  }, repeats);
  for (const [kind, list] of Object.entries(times)) {
    list.sort((a, b) => a - b);
    const at = (fraction) => list[Math.floor(list.length * fraction)].toFixed(1);
    console.log(`page ${kind} of 1,000,000 cells: median ${at(0.5)} ms, 90 % within ${at(0.9)} ms (target: 16 ms)`);
  }
} finally {
  await closeBrowser();
  rmSync(dir, { recursive: true, force: true });
}
