"""Byte-level BPE: training, encoding, and the form in which GGUF stores it.

The pre-tokenizer is llama.cpp's `qwen2` (one digit per token), the byte alphabet is GPT-2's, so that
`tokenizer.ggml.model = gpt2` with `tokenizer.ggml.pre = qwen2` gives the same ids inside llama.cpp.
"""
import heapq
import json
from collections import Counter, defaultdict

import regex

END_OF_TEXT = "<|endoftext|>"
PRE_TOKENIZER = "qwen2"
SPLIT = regex.compile(
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_alphabet():
    """GPT-2's map from byte to printable character."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {b: chr(b) for b in printable}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(printable))
    return table


BYTE_TO_CHAR = byte_alphabet()


def to_chars(word):
    return "".join(BYTE_TO_CHAR[b] for b in word.encode("utf-8"))


def merge_word(symbols, pair):
    merged, i = [], 0
    while i < len(symbols):
        if i + 1 < len(symbols) and (symbols[i], symbols[i + 1]) == pair:
            merged.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return merged


class MergeTrainer:
    """Finds the most frequent adjacent pair again and again, touching only the words that hold it."""

    def __init__(self, word_counts):
        self.words = [list(to_chars(w)) for w in word_counts]
        self.counts = list(word_counts.values())
        self.pair_count = Counter()
        self.where = defaultdict(set)
        for i, symbols in enumerate(self.words):
            self._add(i, symbols, self.counts[i])
        self.heap = [(-n, pair) for pair, n in self.pair_count.items()]
        heapq.heapify(self.heap)

    def _add(self, i, symbols, n):
        for pair in zip(symbols, symbols[1:]):
            self.pair_count[pair] += n
            self.where[pair].add(i)

    def best_pair(self):
        while self.heap:
            negative, pair = heapq.heappop(self.heap)
            n = self.pair_count[pair]
            if n == -negative and n > 0:
                return pair
            if 0 < n < -negative:
                heapq.heappush(self.heap, (-n, pair))
        return None

    def apply(self, pair):
        touched = set()
        for i in self.where.pop(pair):
            old = self.words[i]
            for p in zip(old, old[1:]):
                self.pair_count[p] -= self.counts[i]
            self.words[i] = merge_word(old, pair)
            self._add(i, self.words[i], self.counts[i])
            touched.update(zip(self.words[i], self.words[i][1:]))
        for p in sorted(touched):
            heapq.heappush(self.heap, (-self.pair_count[p], p))


def train(weighted_documents, n_vocab):
    """weighted_documents: (text, weight) pairs; a weight lets a small domain count as much as a large one."""
    word_counts = Counter()
    for text, weight in weighted_documents:
        for word, n in Counter(SPLIT.findall(text)).items():
            word_counts[word] += n * weight
    trainer = MergeTrainer(word_counts)
    merges = []
    while len(merges) < n_vocab - 256 - 1:
        pair = trainer.best_pair()
        if pair is None:
            break
        trainer.apply(pair)
        merges.append(pair)
    return Tokenizer(merges)


class Tokenizer:
    def __init__(self, merges):
        self.merges = [tuple(m) for m in merges]
        self.rank = {pair: i for i, pair in enumerate(self.merges)}
        alphabet = [BYTE_TO_CHAR[b] for b in range(256)]
        self.pieces = alphabet + [a + b for a, b in self.merges] + [END_OF_TEXT]
        self.id_of = {piece: i for i, piece in enumerate(self.pieces)}
        self.end_of_text = len(self.pieces) - 1
        self.char_to_byte = {c: b for b, c in BYTE_TO_CHAR.items()}
        self.cache = {}

    def _encode_word(self, word):
        symbols = list(to_chars(word))
        while len(symbols) > 1:
            best = min(zip(symbols, symbols[1:]), key=lambda p: self.rank.get(p, len(self.rank)))
            if best not in self.rank:
                break
            symbols = merge_word(symbols, best)
        return [self.id_of[s] for s in symbols]

    def encode(self, text):
        ids = []
        for word in SPLIT.findall(text):
            if word not in self.cache:
                self.cache[word] = self._encode_word(word)
            ids += self.cache[word]
        return ids

    def bytes_of(self, token_id):
        if token_id == self.end_of_text:
            return b""
        return bytes(self.char_to_byte[c] for c in self.pieces[token_id])

    def decode(self, ids):
        return b"".join(self.bytes_of(i) for i in ids).decode("utf-8", errors="replace")

    def save(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"pre": PRE_TOKENIZER, "merges": self.merges}, f, ensure_ascii=False)

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8") as f:
            return cls(json.load(f)["merges"])
