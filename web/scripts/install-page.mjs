// Finishes the built page and puts it where the C++ build picks it up, web/page.html: with the Content-Security-Policy
// that lets its one script and its one style run by their hashes and nothing else, and with a fingerprint of the
// sources. `--check` only compares the fingerprint, and fails where page.html is out of date.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeLicences } from './licences.mjs';

const root = join(import.meta.dirname, '..');
const target = join(root, 'page.html');

function fingerprint() {
  const sources = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((f) => f.isFile())
    .map((f) => join(f.parentPath, f.name))
    .concat(
      ['index.html', 'vite.config.ts', 'tsconfig.json', 'package.json', 'package-lock.json'].map((f) => join(root, f)),
    )
    .sort();
  const hash = createHash('sha256');
  for (const file of sources)
    hash
      .update(file.slice(root.length) + '\0')
      .update(readFileSync(file))
      .update('\0');
  return hash.digest('hex').slice(0, 32);
}

function only(html, pattern, what) {
  const found = [...html.matchAll(pattern)];
  if (found.length !== 1) throw new Error(`the built page has ${found.length} ${what}s, not one`);
  return `'sha256-${createHash('sha256').update(found[0][1]).digest('base64')}'`;
}

function withPolicy(html) {
  const script = only(html, /<script type="module"[^>]*>([\s\S]*?)<\/script>/g, 'script');
  const style = only(html, /<style[^>]*>([\s\S]*?)<\/style>/g, 'style');
  const policy =
    `default-src 'none'; script-src ${script}; style-src ${style}; img-src data: blob:; connect-src 'self'; ` +
    `base-uri 'none'; form-action 'none'`;
  if (!html.includes('%POLICY%')) throw new Error('the built page has no place for its policy');
  return html.replace('%POLICY%', () => policy);
}

// The licences of everything in the page travel in it: of moescope itself, and of the packages that it is built with.
function withLicences(html) {
  const texts = `moescope\n\n${readFileSync(join(root, '..', 'LICENSE'), 'utf8')}\n${writeLicences()}`;
  if (/<\/?script|<!--/i.test(texts)) throw new Error('a licence text would end the element that holds it');
  if (!html.includes('%LICENCES%')) throw new Error('the built page has no place for its licences');
  return html.replace('%LICENCES%', () => texts);
}

const mark = `<!-- built from ${fingerprint()} -->`;
if (process.argv.includes('--check')) {
  if (!readFileSync(target, 'utf8').includes(mark)) {
    console.error(
      'web/page.html was not built from these sources: run npm ci && npm run build in web/, and commit page.html',
    );
    process.exit(1);
  }
} else {
  const built = readFileSync(join(root, 'dist', 'index.html'), 'utf8');
  const html = withLicences(withPolicy(built)).replace('<head>', () => '<head>\n' + mark);
  writeFileSync(target, html);
  console.log(`page.html: ${(html.length / 1024).toFixed(0)} KiB`);
}
