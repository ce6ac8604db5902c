// Works beside the page, so that the page stays responsive: traces in, the data of a page out.

import { Core } from './core';
import type { Answer, Stage, Task } from './messages';
import { unpack } from './unpack';

const tell = (answer: Answer) => postMessage(answer);

const progressEvery = 50; // milliseconds
let told = 0;
function progress(stage: Stage, share: number): void {
  if (performance.now() - told < progressEvery) return;
  told = performance.now();
  tell({ kind: 'progress', stage, share });
}

function base64(bytes: Uint8Array): string {
  const piece = 0x6000; // a multiple of three, and few enough arguments for a call
  let text = '';
  for (let i = 0; i < bytes.length; i += piece) text += btoa(String.fromCharCode(...bytes.subarray(i, i + piece)));
  return text;
}

async function work({ code, files }: Task): Promise<string> {
  const core = await Core.load(await unpack(code), (share, again) => progress(again ? 'simulate' : 'read', share));
  const total = files.reduce((sum, { file }) => sum + file.size, 0);
  let before = 0;
  for (const { name, file } of files) {
    await core.add(name, file, (share) => progress('copy', (before + share * file.size) / total));
    before += file.size;
  }
  return base64(core.build());
}

addEventListener('message', (e: MessageEvent<Task>) => {
  work(e.data).then(
    (data) => tell({ kind: 'page', data }),
    (e: unknown) => tell({ kind: 'error', line: e instanceof Error ? e.message : String(e) }),
  );
});
