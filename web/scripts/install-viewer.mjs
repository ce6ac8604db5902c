// Finishes the built viewer and puts it where the C++ build picks it up, web/viewer.html: with its Content-Security-Policy and
// with its core, compiled from C++ (cmake/Viewer.cmake). The core is the one that is given, else the one that it has already.
//
//   node scripts/install-viewer.mjs [core.wasm]
//   node scripts/install-viewer.mjs --check        fails where viewer.html is out of date
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';

const root = join(import.meta.dirname, '..');
const target = join(root, 'viewer.html');

// What the core is made of besides moescope: header libraries, and the C and C++ libraries of emscripten.
const corePackages = ['nlohmann-json3-dev', 'libfmt-dev', 'libxxhash-dev', 'emscripten'];

function fingerprint() {
  const own = readdirSync(join(root, 'viewer')).filter((f) => /\.(ts|css|html)$/.test(f));
  const hash = createHash('sha256');
  for (const file of own.map((f) => 'viewer/' + f).sort())
    hash
      .update(file + '\0')
      .update(readFileSync(join(root, file)))
      .update('\0');
  return hash.digest('hex').slice(0, 32);
}

function hashOf(html, pattern, what) {
  const found = [...html.matchAll(pattern)];
  if (found.length !== 1) throw new Error(`the built viewer has ${found.length} ${what}s, not one`);
  return `'sha256-${createHash('sha256').update(found[0][1]).digest('base64')}'`;
}

// Nothing connects, and nothing runs but the viewer, its worker, its core, and the page inside (cmake/JoinViewer.cmake).
function withPolicy(html) {
  const script = hashOf(html, /<script type="module"[^>]*>([\s\S]*?)<\/script>/g, 'script');
  const style = hashOf(html, /<style[^>]*>([\s\S]*?)<\/style>/g, 'style');
  const policy =
    `default-src 'none'; script-src ${script} %PAGE_SCRIPT% 'wasm-unsafe-eval'; worker-src blob:; ` +
    `style-src ${style} %PAGE_STYLE%; img-src data: blob:; connect-src 'none'; base-uri 'none'; form-action 'none'`;
  return html.replace('%POLICY%', () => policy);
}

const packed = (data) => deflateRawSync(data, { level: 9 }).toString('base64');

function licences() {
  const text = (name) => readFileSync(`/usr/share/doc/${name}/copyright`, 'utf8');
  const own = readFileSync(join(root, '..', 'LICENSE'), 'utf8');
  return ['moescope\n\n' + own, ...corePackages.map((name) => `${name}\n\n${text(name)}`)].join('\n\n');
}

// The text of an element of the viewer as it is now.
function kept(id) {
  const built = readFileSync(target, 'utf8');
  const [, text] = built.match(new RegExp(`<script type="[^"]*" id="${id}">\\s*(\\S*)\\s*</script>`));
  return text;
}

const mark = `<!-- built from ${fingerprint()} -->`;
if (process.argv[2] === '--check') {
  if (!readFileSync(target, 'utf8').includes(mark)) {
    console.error(
      'web/viewer.html was not built from these sources: run npm ci && node scripts/install-viewer.mjs in web/, and commit viewer.html',
    );
    process.exit(1);
  }
} else {
  const wasm = process.argv[2];
  const core = wasm ? packed(readFileSync(wasm)) : kept('core');
  const coreLicences = wasm ? packed(licences()) : kept('core-licences');
  execFileSync(join(root, 'node_modules', '.bin', 'tsc'), ['--noEmit', '-p', join(root, 'viewer')], {
    stdio: 'inherit',
  });
  const config = join(root, 'viewer', 'vite.config.ts');
  execFileSync(join(root, 'node_modules', '.bin', 'vite'), ['build', '--logLevel', 'warn', '--config', config], {
    stdio: 'inherit',
  });
  const html = withPolicy(readFileSync(join(root, 'dist', 'viewer', 'index.html'), 'utf8'))
    .replace('%CORE%', () => core)
    .replace('%CORE_LICENCES%', () => coreLicences)
    .replace('<head>', () => '<head>\n' + mark);
  writeFileSync(target, html);
  console.log(`viewer.html: ${(html.length / 1024).toFixed(0)} KiB without the page`);
}
