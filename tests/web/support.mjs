// What every test of the page needs: traces whose contents are known, the real programs, and a browser.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');
const { chromium } = createRequire(join(root, 'web', 'package.json'))('playwright-core');

export const moescope = process.env.MOESCOPE_BIN ?? join(root, 'build', 'bin', 'moescope');
export const makeTrace = process.env.MAKE_TRACE_BIN ?? join(root, 'build', 'tests', 'web', 'make_trace');

export function temporaryFolder(t) {
  const dir = mkdtempSync(join(tmpdir(), 'moescope-web-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

// Makes a trace and says what is in it.
export function trace(dir, name, ...options) {
  const out = join(dir, name + '.moetrace');
  const truth = join(dir, name + '.json');
  execFileSync(makeTrace, ['--out', out, '--truth', truth, ...options.map(String)]);
  return { path: out, truth: JSON.parse(readFileSync(truth, 'utf8')) };
}

export function report(dir, traces, ...options) {
  const out = join(dir, 'report.html');
  execFileSync(moescope, ['report', ...traces, '-o', out, '--force', ...options], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  return out;
}

// A running `moescope serve`; resolves when it has printed its address.
export function serve(t, ...options) {
  const child = spawn(moescope, ['serve', ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((done) => child.once('exit', (code) => done(code)));
  t.after(() => {
    if (child.exitCode === null) child.kill('SIGKILL');
  });
  return new Promise((done, failed) => {
    let text = '';
    child.stdout.on('data', (d) => {
      text += d;
      const at = text.indexOf('\n');
      if (at >= 0) done({ url: text.slice(0, at), child, ended });
    });
    ended.then((code) => failed(new Error(`serve ended with ${code}`)));
  });
}

let browser;
export async function openBrowser() {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  return browser;
}
export async function closeBrowser() {
  await browser?.close();
  browser = undefined;
}

// Opens the page and fails the test for anything the browser complains about.
export async function open(
  t,
  where,
  { width = 1280, height = 900, colorScheme = 'light', view = '', timeout = 60000 } = {},
) {
  const context = await (
    await openBrowser()
  ).newContext({ viewport: { width, height }, colorScheme, acceptDownloads: true });
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (m) => {
    const ours = m.text().includes('willReadFrequently'); // the tests read pixels; the page does not
    if (!ours && (m.type() === 'error' || m.type() === 'warning')) complaints.push(m.text());
  });
  page.on('pageerror', (e) => complaints.push(String(e)));
  page.on('dialog', (d) => {
    complaints.push('a dialog: ' + d.message());
    d.dismiss();
  });
  await page.goto((where.startsWith('http') ? where : 'file://' + where) + (view ? '#' + view : ''), { timeout });
  await page.waitForFunction(() => window.moescope !== undefined, null, { timeout });
  t.after(async () => {
    await context.close();
    if (complaints.length > 0) throw new Error('the page complained: ' + complaints.join('; '));
  });
  return page;
}

// Draws are synchronous with the state; a frame later everything is on the screen.
export async function settle(page) {
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
}

// The pixel in the middle of a matrix's cell, as [r, g, b], and where it is on the page.
export async function cellPixel(page, view, matrix, col, row) {
  return page.evaluate(
    ([v, m, c, r]) => {
      const x = window.moescope.view(v)[m];
      const box = x.boxOf({ col: c, row: r });
      const canvas = x.element.querySelector('canvas.matrix');
      const scale = devicePixelRatio;
      const px = Math.floor((box.x + box.width / 2) * scale);
      const py = Math.floor((box.y + box.height / 2) * scale);
      return [...canvas.getContext('2d').getImageData(px, py, 1, 1).data.slice(0, 3)];
    },
    [view, matrix, col, row],
  );
}
export async function cellPoint(page, view, matrix, col, row) {
  return page.evaluate(
    ([v, m, c, r]) => {
      const x = window.moescope.view(v)[m];
      const box = x.boxOf({ col: c, row: r });
      const at = x.element.getBoundingClientRect();
      return { x: at.x + box.x + box.width / 2, y: at.y + box.y + box.height / 2 };
    },
    [view, matrix, col, row],
  );
}

// The legend's colour at a fraction of its scale: what the eye would compare a cell with.
export async function legendPixel(page, fraction) {
  return page.evaluate((f) => {
    const bar = document.querySelector('.stage .legend-bar canvas');
    return [
      ...bar
        .getContext('2d')
        .getImageData(Math.round(f * 253), 0, 1, 1)
        .data.slice(0, 3),
    ];
  }, fraction);
}

export function close(a, b, tolerance) {
  return a.length === b.length && a.every((v, i) => Math.abs(v - b[i]) <= tolerance);
}
