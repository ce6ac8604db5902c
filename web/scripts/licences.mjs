// Writes licences.txt: the licence texts of the packages that the page's sources import, and of those that these need. The
// built page contains them, so moescope --licenses shows them. `node scripts/licences.mjs` does it alone.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

function importedPackages() {
  const sources = readdirSync(join(root, 'src'), { recursive: true }).filter((f) => f.endsWith('.ts'));
  const text = sources.map((f) => readFileSync(join(root, 'src', f), 'utf8')).join('\n');
  return [...text.matchAll(/from '([a-z@][^'/]*)'/g)].map((m) => m[1]);
}

function withDependencies(names) {
  const all = new Set();
  const add = (name) => {
    if (all.has(name)) return;
    all.add(name);
    const about = JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8'));
    Object.keys(about.dependencies ?? {}).forEach(add);
  };
  names.forEach(add);
  return [...all].sort();
}

// Most of them share a text but for the years: each text stands once, below the names it is for.
function textsByPackages(packages) {
  const texts = new Map();
  for (const name of packages) {
    const file = ['LICENSE', 'LICENSE.md', 'LICENSE.txt']
      .map((f) => join(root, 'node_modules', name, f))
      .find(existsSync);
    if (!file) throw new Error(`${name} has no licence text`);
    const text = readFileSync(file, 'utf8').trim();
    texts.set(text, [...(texts.get(text) ?? []), name]);
  }
  return texts;
}

// Returns what it has written.
export function writeLicences() {
  const texts = textsByPackages(withDependencies(importedPackages()));
  const parts = [...texts].map(([text, names]) => `${names.join(', ')}\n\n${text}\n`);
  writeFileSync(join(root, 'licences.txt'), parts.join('\n'));
  return parts.join('\n');
}

if (process.argv[1] === import.meta.filename) writeLicences();
