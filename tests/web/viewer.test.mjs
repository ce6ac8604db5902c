// viewer.html: traces opened in the browser alone show what `moescope report` shows of them, and nothing leaves the page.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { basename, join } from 'node:path';
import { after, test } from 'node:test';
import { closeBrowser, moescope, open, openBrowser, report, temporaryFolder, trace } from './support.mjs';

const root = join(import.meta.dirname, '..', '..');
const viewer = process.env.VIEWER ?? join(root, 'build', 'viewer.html');
const makeModel = process.env.MAKE_MODEL_BIN ?? join(root, 'build', 'tools', 'make-model', 'make-model');
const damageTrace = process.env.DAMAGE_TRACE_BIN ?? join(root, 'build', 'tests', 'web', 'damage_trace');
const golden = join(root, 'tests', 'golden', 'v1.moetrace');

after(closeBrowser);

// The viewer in a browser; fails the test for a complaint of the browser, and for any request but that for the viewer itself.
async function openViewer(t, { width = 1280, height = 900 } = {}) {
  const context = await (await openBrowser()).newContext({ viewport: { width, height } });
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (m) => {
    if (m.type() === 'error' || m.type() === 'warning') complaints.push(m.text());
  });
  page.on('pageerror', (e) => complaints.push(String(e)));
  context.on('request', (r) => {
    if (!['file://' + viewer].includes(r.url().split('#')[0]) && !/^(blob|data):/.test(r.url()))
      complaints.push('a request: ' + r.url());
  });
  await page.goto('file://' + viewer);
  t.after(async () => {
    await context.close();
    assert.deepEqual(complaints, []);
  });
  return page;
}

const choose = (page, files) => page.setInputFiles('.viewer input[type=file]', files);

// Waits for the page of these files, however many were shown before.
async function shown(page, files) {
  await page.evaluate(() => {
    delete window.moescope;
  });
  await choose(page, files);
  await page.waitForFunction(() => window.moescope !== undefined || !document.querySelector('.viewer-error').hidden);
  assert.ok(await page.isHidden('.viewer-error'), await page.textContent('.viewer-error'));
}

async function errorOf(page, files) {
  await page.evaluate(() => {
    document.querySelector('.viewer-error').textContent = '';
  });
  await choose(page, files);
  await page.waitForFunction(() => document.querySelector('.viewer-error').textContent !== '');
  assert.ok(await page.isVisible('.viewer-error'));
  assert.ok(await page.isHidden('.viewer-stop'));
  return page.textContent('.viewer-error');
}

// Everything that the page shows, as JSON; arrays with their types, and what JSON cannot say by name.
const dataOf = (page) =>
  page.evaluate(() =>
    JSON.stringify(window.moescope.page, (_, v) =>
      ArrayBuffer.isView(v)
        ? { type: v.constructor.name, values: Array.from(v, String) }
        : typeof v === 'number' && !Number.isFinite(v)
          ? String(v)
          : v,
    ),
  );

async function reported(t, dir, files) {
  const page = await open(t, report(dir, files));
  return dataOf(page);
}

const reportIn = (dir, name) =>
  spawnSync(moescope, ['report', name, '-o', 'r.html', '--force'], { cwd: dir, encoding: 'utf8' });

async function sameAsReport(t, dir, files, all = files) {
  const page = await openViewer(t);
  await shown(page, all);
  const ours = JSON.parse(await dataOf(page));
  assert.ok(ours.runs.length > 0 && ours.runs[0].tokens > 0);
  assert.deepEqual(ours, JSON.parse(await reported(t, dir, files)));
  return page;
}

test('the golden file is shown as report shows it, without a request', async (t) => {
  const page = await sameAsReport(t, temporaryFolder(t), [golden]);
  assert.equal(await page.title(), 'v1 · moescope');
});

for (const arch of ['qwen3moe', 'gpt-oss', 'deepseek2', 'granitemoe'])
  test(`a trace of ${arch} is shown as report shows it`, async (t) => {
    const dir = temporaryFolder(t);
    const model = join(dir, 'model.gguf');
    const out = join(dir, arch + '.moetrace');
    execFileSync(makeModel, ['random', '--arch', arch, '-o', model], { stdio: 'ignore' });
    execFileSync(
      moescope,
      ['run', '-m', model, '-p', 'one two three four', '-n', '30', '--capture', 'ids,weights,norms', '-o', out],
      { stdio: 'ignore' },
    );
    await sameAsReport(t, dir, [out]);
  });

test('the trace of a killed program is shown as report shows it', async (t) => {
  const dir = temporaryFolder(t);
  const out = join(dir, 'killed.moetrace');
  const model = join(root, 'models', 'demo.gguf');
  const options = ['run', '-m', model, '-p', '2+3=', '-n', '100000', '--ignore-eos', '-o', out];
  const program = spawn(moescope, options, { stdio: 'ignore' });
  const ended = new Promise((done) => program.once('exit', (_, signal) => done(signal)));
  while (program.exitCode === null && !(existsSync(out) && statSync(out).size > 50_000))
    await new Promise((done) => setTimeout(done, 20));
  program.kill('SIGKILL');
  assert.equal(await ended, 'SIGKILL');
  const cut = join(dir, 'cut.moetrace'); // and with a chunk of which a part is missing
  writeFileSync(cut, readFileSync(out).subarray(0, -7));
  const page = await sameAsReport(t, dir, [out]);
  assert.equal(await page.evaluate(() => window.moescope.page.runs[0].source.ended), false);
  const half = await sameAsReport(t, dir, [cut]);
  assert.ok((await half.evaluate(() => window.moescope.page.runs[0].source.lost_bytes)) > 0);
});

test('labels, norms, domains, several traces at once and counts alone are shown as report shows them', async (t) => {
  const dir = temporaryFolder(t);
  const a = trace(dir, 'a', '--norms', '--labels', 'code', 'prose', '--sequences', 4).path;
  const b = trace(dir, 'b', '--seed', 2, '--dead', 3).path;
  const counts = trace(dir, 'counts', '--counts-only').path;
  await sameAsReport(t, dir, [a, b]);
  await sameAsReport(t, dir, [counts]);
});

test('the parts of a trace are read as one, in whatever order they come', async (t) => {
  const dir = temporaryFolder(t);
  const out = join(dir, 'long.moetrace');
  const model = join(root, 'models', 'demo.gguf');
  execFileSync(
    moescope,
    ['run', '-m', model, '-p', '2+3=', '-n', '100', '--ignore-eos', '--max-size', '8K', '-o', out],
    {
      stdio: 'ignore',
    },
  );
  const parts = readdirSync(dir).filter((f) => f.endsWith('.moetrace'));
  assert.ok(parts.length > 1);
  await sameAsReport(t, dir, [out], parts.map((f) => join(dir, f)).reverse());
});

test('what cannot be read gives the line that report prints, and the viewer goes on', async (t) => {
  const dir = temporaryFolder(t);
  const page = await openViewer(t);
  const whole = readFileSync(golden);
  const write = (name, bytes) => {
    writeFileSync(join(dir, name), bytes);
    return join(dir, name);
  };
  const flipped = (at) => {
    const bytes = Buffer.from(whole);
    bytes[at] ^= 0x10;
    return bytes;
  };
  const damaged = [
    write('empty.moetrace', ''),
    write('zeros.moetrace', Buffer.alloc(64)),
    ...[0, 8, 9].map((at) => write(`head${at}.moetrace`, flipped(at))),
    ...Array.from({ length: 24 }, (_, i) => 16 + Math.floor((i * (whole.length - 16)) / 24)).map((at) =>
      write(`flipped${at}.moetrace`, flipped(at)),
    ),
    ...[20, 100, 900].map((n) => write(`cut${n}.moetrace`, whole.subarray(0, n))),
  ];
  let refused = 0;
  for (const file of damaged) {
    const told = reportIn(dir, basename(file));
    if (told.status === 0) {
      await shown(page, file); // a note's or a text's byte may read, or the end be missing
      continue;
    }
    refused++;
    assert.equal('moescope: ' + (await errorOf(page, file)), told.stderr.trim(), file);
  }
  assert.ok(refused > 20);
  await shown(page, golden);
});

test('damage behind right checksums gives the line or the page of report', async (t) => {
  const dir = temporaryFolder(t);
  const n = 60;
  execFileSync(damageTrace, [golden, dir, n]);
  const page = await openViewer(t);
  let refused = 0;
  for (let i = 0; i < n; i++) {
    const file = join(dir, `${i}.moetrace`);
    const told = reportIn(dir, `${i}.moetrace`);
    if (told.status === 0) {
      await shown(page, file);
      if (i % 8 === 0) assert.deepEqual(JSON.parse(await dataOf(page)), JSON.parse(await reported(t, dir, [file])));
    } else {
      refused++;
      assert.equal('moescope: ' + (await errorOf(page, file)), told.stderr.trim());
    }
  }
  assert.ok(refused > 5 && refused < n);
});

test('logs and other files give one clear line', async (t) => {
  const page = await openViewer(t);
  const corpus = join(root, 'tests', 'fuzz', 'logs_corpus');
  const files = readdirSync(corpus).map((f) => join(corpus, f));
  for (const file of [...files, viewer, join(root, 'models', 'demo.gguf')]) {
    const line = await errorOf(page, file);
    const advice = file.endsWith('.gguf')
      ? 'traces are written by moescope record and moescope run'
      : "'moescope report' shows logs, too";
    assert.equal(line, `${basename(file)}: not a moescope trace; ${advice}`);
  }
});

test('files can be dropped, also onto a page; an error leaves the page; the view stays', async (t) => {
  const dir = temporaryFolder(t);
  const page = await openViewer(t);
  const drop = async (file) => {
    const transfer = await page.evaluateHandle(
      ({ name, bytes }) => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name));
        return data;
      },
      { name: basename(file), bytes: readFileSync(file).toString('base64') },
    );
    await page.dispatchEvent('body', 'dragenter', { dataTransfer: transfer });
    assert.ok(await page.evaluate(() => document.documentElement.classList.contains('dropping')));
    await page.dispatchEvent('body', 'drop', { dataTransfer: transfer });
    assert.ok(!(await page.evaluate(() => document.documentElement.classList.contains('dropping'))));
  };
  const first = trace(dir, 'first').path;
  await drop(first);
  await page.waitForFunction(() => document.title === 'first · moescope');
  await page.keyboard.press('2');
  const view = await page.evaluate(() => window.moescope.store.now.view);
  assert.notEqual(view, 'experts');

  const broken = join(dir, 'broken.moetrace');
  writeFileSync(broken, 'MOETRACE');
  await drop(broken);
  await page.waitForFunction(() => !document.querySelector('.viewer-error').hidden);
  assert.equal(await page.title(), 'first · moescope');

  const second = join(dir, 'second.moetrace');
  copyFileSync(first, second);
  await drop(second);
  await page.waitForFunction(() => document.title === 'second · moescope');
  assert.equal(await page.evaluate(() => window.moescope.store.now.view), view);
  assert.ok(await page.isHidden('.viewer-error'));
  await page.keyboard.press('1'); // one page listens, not two
  assert.equal(await page.evaluate(() => window.moescope.store.now.view), 'experts');
});

// A trace is append-only, and a chunk of rows stands for itself: the same rows again and again make a long trace.
function lengthened(from, to, bytes) {
  const whole = readFileSync(from);
  const chunks = [];
  for (let at = 16; at < whole.length;) {
    const size = 32 + Math.ceil(Number(whole.readBigUInt64LE(at + 8)) / 8) * 8;
    chunks.push({ kind: whole.readUInt32LE(at + 4), bytes: whole.subarray(at, at + size) });
    at += size;
  }
  const rows = Buffer.concat(chunks.filter((c) => c.kind === 6).map((c) => c.bytes));
  const before = chunks.filter((c) => c.kind < 6).map((c) => c.bytes);
  const times = Math.ceil(bytes / rows.length);
  writeFileSync(to, Buffer.concat([whole.subarray(0, 16), ...before, ...Array.from({ length: times }, () => rows)]));
}

test('200 MB open as report has them; meanwhile the viewer tells how far it is and can be stopped', async (t) => {
  const dir = temporaryFolder(t);
  const long = join(dir, 'long.moetrace');
  lengthened(trace(dir, 'short', '--experts', 128, '--used', 8).path, long, 200e6);
  const page = await openViewer(t);
  await choose(page, long);
  await page.waitForFunction(
    () => /^Reading long.moetrace/.test(document.querySelector('.viewer-said').textContent),
    null,
    {
      polling: 20,
    },
  );
  await page.waitForFunction(() => document.querySelector('.viewer progress').value > 0.1, null, { polling: 20 });
  await page.click('.viewer-stop');
  assert.ok(await page.isVisible('.viewer-choose'));
  assert.ok(await page.isHidden('.viewer progress'));
  assert.equal(await page.evaluate(() => window.moescope), undefined);
  await shown(page, long);
  const ours = JSON.parse(await dataOf(page));
  assert.equal(ours.runs[0].source.bytes, statSync(long).size);
  assert.deepEqual(ours, JSON.parse(await reported(t, dir, [long])));
});

test('the page in the viewer is the page of report, byte for byte', () => {
  const [, page] = readFileSync(viewer, 'utf8').match(/<script type="text\/plain" id="page">([\s\S]*?)<\/script>/);
  const original = readFileSync(join(root, 'web', 'page.html'), 'utf8');
  assert.ok(!original.includes('<~/script'));
  assert.equal(page.trim().replaceAll('<~/script', '</script'), original.trim());
});

test('the licences of what the core is made of travel in the viewer', async (t) => {
  const page = await openViewer(t);
  await page.click('.viewer-licences summary');
  await page.waitForFunction(() => document.querySelector('.viewer-licences pre').textContent !== '');
  const text = await page.textContent('.viewer-licences pre');
  for (const owner of ['moescope', 'Niels Lohmann', 'Victor Zverovich', 'Yann Collet', 'musl', 'LLVM'])
    assert.ok(text.includes(owner), owner);
});

test('the page can connect to nothing, and runs no code but its own', async (t) => {
  let asked = 0;
  const server = createServer((_, answer) => {
    asked++;
    answer.end();
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  const url = `http://127.0.0.1:${server.address().port}/`;
  const context = await (await openBrowser()).newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto('file://' + viewer);
  const attempts = () =>
    page.evaluate(async (to) => {
      const failed = [];
      const attempt = (name, f) =>
        Promise.resolve()
          .then(f)
          .then(
            () => failed,
            () => failed.push(name),
          );
      await attempt('fetch', () => fetch(to, { mode: 'no-cors' }));
      await attempt('worker', () => {
        const code = `fetch('${to}', {mode: 'no-cors'}).then(() => postMessage(1), () => postMessage(0))`;
        const worker = new Worker(URL.createObjectURL(new Blob([code])));
        return new Promise((done, no) => (worker.onmessage = (e) => (e.data ? done() : no())));
      });
      await attempt('image', () => {
        const image = new Image();
        return new Promise((done, no) => Object.assign(image, { onload: done, onerror: no, src: to }));
      });
      const script = document.createElement('script');
      script.textContent = 'window.foreign = 1';
      document.body.append(script);
      if (window.foreign === undefined) failed.push('script');
      return failed;
    }, url);
  assert.deepEqual(await attempts(), ['fetch', 'worker', 'image', 'script']);
  await shown(page, golden);
  assert.deepEqual(await attempts(), ['fetch', 'worker', 'image', 'script']);
  assert.equal(asked, 0);
});
