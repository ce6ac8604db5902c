// Evaluates a prompt with @fugood/llama.node and then some tokens, greedily.
import { loadModel } from '@fugood/llama.node';

const [modelPath, prompt, count] = process.argv.slice(2);
const context = await loadModel({ model: modelPath, n_ctx: 256, n_threads: 1, n_gpu_layers: 0, n_parallel: 1 });
const { tokens } = await context.tokenize(prompt);
await context.completion({ prompt, n_predict: Number(count), temperature: 0, seed: 1 }, () => {});
console.log(JSON.stringify({ tokens: [...tokens] }));
await context.release();
