// An ordinary program on node-llama-cpp, which knows nothing of moescope: completes a text with a model.
//   node complete.mjs MODEL.gguf TEXT [TOKENS]
import { getLlama, LlamaCompletion } from 'node-llama-cpp';

const [modelPath, text, maxTokens = 24] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: 'never', progressLogs: false, maxThreads: 1 });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: 256, threads: 1 });
const completion = new LlamaCompletion({ contextSequence: context.getSequence() });
const added = await completion.generateCompletion(text, { maxTokens: Number(maxTokens), temperature: 0 });
console.log(text + added);
await llama.dispose();
