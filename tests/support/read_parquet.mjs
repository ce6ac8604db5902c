// Prints the rows of a Parquet file as JSON, read by hyparquet: node read_parquet.mjs FILE NODE_MODULES
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [file, modules] = process.argv.slice(2);
const resolve = createRequire(`${modules}/`).resolve;
const load = (name) => import(pathToFileURL(resolve(name)));
const { parquetReadObjects } = await load('hyparquet');
const { asyncBufferFromFile } = await load('hyparquet/src/node.js').catch(() => load('hyparquet'));
const { compressors } = await load('hyparquet-compressors');

const rows = await parquetReadObjects({ file: await asyncBufferFromFile(file), compressors });
const plain = (_, v) => (typeof v === 'bigint' ? Number(v) : typeof v === 'number' && !Number.isFinite(v) ? null : v);
process.stdout.write(JSON.stringify(rows, plain));
