// The words of the page, for those who meet them here first. docs/glossary.md has all of them.

export const glossary: [word: string, meaning: string][] = [
  [
    'expert',
    'one of the feed-forward networks of a layer. Numbers count from 0 and mean something only within their layer',
  ],
  ['router', 'the matrix that scores the experts of a layer for a token; the best k are selected'],
  ['selection', 'one expert chosen for one token in one layer'],
  [
    'row',
    'the routing of one token in one layer: k selections. The last layer may compute fewer rows than there are tokens',
  ],
  ['share', 'an expert’s part of its layer’s selections. Balanced: 1/E with E experts'],
  ['balance', 'all experts of a layer are selected equally often. 2× against balance: twice as often'],
  [
    'chance, random routing',
    'what as many tokens would show if each selected its experts at random. A finite text never looks perfectly even',
  ],
  ['evenness', 'the normalised entropy of a layer’s selections: 1 is perfect balance, 0 means that one expert has all'],
  ['Gini', '0: all experts are selected equally often; near 1: a few have nearly everything'],
  ['MaxVio', 'how far the busiest expert is above its balanced share, in balanced shares'],
  ['gate weight', 'what multiplies the output of a selected expert'],
  ['norm', 'the length of a selected expert’s output'],
  ['EAN', 'mean norm of an expert’s output when it is selected'],
  ['REAP', 'mean of gate weight × norm when selected: how much an expert adds'],
  ['prompt, generated', 'tokens that were read (prefill), and tokens that the model wrote (decode)'],
  ['ubatch', 'the tokens that llama.cpp computes as one graph'],
  ['slice', 'one expert’s part of a tensor of the model file'],
  ['access, read', 'one ubatch that needs an expert’s slices, however many of its tokens selected it'],
  ['slot', 'room for one expert in a cache'],
  ['lift', 'how many times as often two experts are selected together as if they were independent'],
  ['Jensen–Shannon distance', '0: the same distribution; 1: no expert in common'],
  ['KL', 'how far the predictions of a changed model are from those of the full one, in nats per token. 0 is the same'],
  ['domain, label', 'prompts with the same label, or one trace among several'],
];
