// Evaluates a prompt with node-llama-cpp's prebuilt binaries and then some tokens, greedily.
import { getLlama } from 'node-llama-cpp';

const [modelPath, prompt, count] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: 'never', progressLogs: false, maxThreads: 1 });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: 256, threads: 1 });
const tokens = model.tokenize(prompt);
const generated = [];
for await (const token of context.getSequence().evaluate(tokens, { temperature: 0 })) {
  generated.push(token);
  if (generated.length === Number(count)) break;
}
console.log(JSON.stringify({ tokens, generated }));
await context.dispose();
await model.dispose();
await llama.dispose();
