#!/usr/bin/python3
"""Checks a GGUF from export.py on text that training never saw; prints the tables of the model card.

  tokenizer   our token ids equal llama.cpp's
  logits      llama.cpp's logits equal the trainer's (normalised mean square error)
  bits        llama.cpp's loss in bits per byte is below that of an order-3 byte model
  routing     the domains use different experts: Jensen-Shannon distance between and within domains

Exits 1 if one of the first three fails.
"""
import argparse
import sys

import numpy as np
import torch

import byte_model
from corpus import DOMAINS, add_corpus_options, read_corpora
from data import held_out_windows, stream
from export import load_model
from llama_helper import Llama, add_llama_options
from routing import routing_table

TRICKY = "x=\t1\r\n\r\n  if 'LL' in don't:  # naïve — ∑ 日本語 🙂 e\u0301 １２3\u00a0\u2003y   \n\n   z'rE 'tis 3.14  "


def parse_args():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_corpus_options(p)
    add_llama_options(p)
    p.add_argument("--work", required=True, help="work folder of train.py")
    p.add_argument("--model", required=True, help="GGUF to check")
    p.add_argument("--max-nmse", type=float, required=True, help="1e-4 for f32 and f16, 1e-2 for q8_0")
    p.add_argument("--windows", type=int, default=32, help="held-out windows of one context length per domain")
    return p.parse_args()


def check_tokenizer(llama, tokenizer, held_out):
    ok = True
    for name, text in {**{d: "".join(held_out[d]) for d in DOMAINS}, "tricky": TRICKY}.items():
        ours, theirs = np.array(tokenizer.encode(text)), llama.tokenize(text)
        same = np.array_equal(ours, theirs)
        ok &= same
        print(f"tokenizer {name:10}  {len(text.encode())} bytes, {len(ours)} tokens: {'same' if same else 'DIFFERENT'}")
    return ok


@torch.no_grad()
def trainer_logits(model, rows):
    return torch.cat([model(torch.from_numpy(r[None]))[0] for r in rows]).numpy()


def check_logits(llama, model, windows, max_nmse):
    ok = True
    for d in DOMAINS:
        rows = windows[d][:4, :-1]
        ours, theirs = trainer_logits(model, rows), llama.logits(rows)
        nmse = float(((ours - theirs) ** 2).sum() / (ours**2).sum())
        agree = float((ours.argmax(-1) == theirs.argmax(-1)).mean())
        ok &= nmse <= max_nmse
        print(f"logits {d:10}  nmse {nmse:.2e} (at most {max_nmse:.0e}), same best token {agree:.2%}")
    return ok


def nats(logits, targets):
    logits = logits - logits.max(-1, keepdims=True)
    log_p = np.take_along_axis(logits, targets[..., None], -1)[..., 0] - np.log(np.exp(logits).sum(-1))
    return -log_p


def check_bits(llama, tokenizer, windows, corpora):
    n_bytes = np.array([len(tokenizer.bytes_of(i)) for i in range(len(tokenizer.pieces))])
    ok = True
    for d in DOMAINS:
        rows = windows[d]
        loss = np.concatenate([nats(llama.logits(r[None, :-1]), r[None, 1:]) for r in rows])
        bits = loss.sum() / np.log(2) / n_bytes[rows[:, 1:]].sum()
        train, held_out = ("".join(part).encode() for part in corpora[d])
        order_3 = byte_model.bits_per_byte(train, held_out)
        ok &= bits < order_3
        print(
            f"bits {d:10}  {loss.size} tokens, perplexity {np.exp(loss.mean()):.2f}, "
            f"{bits:.3f} bits per byte; order-3 byte model {order_3:.3f}"
        )
    return ok


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    model, tokenizer, step = load_model(args.work)
    corpora = read_corpora(args)
    held_out = {d: corpora[d][1] for d in DOMAINS}
    streams = {d: stream(tokenizer, held_out[d]) for d in DOMAINS}
    n_ctx = model.cfg.n_ctx
    windows = {d: held_out_windows(streams[d], args.windows, n_ctx).numpy() for d in DOMAINS}
    llama = Llama(args, args.model)
    print(f"{args.model}: step {step}")
    ok = check_tokenizer(llama, tokenizer, held_out)
    ok &= check_logits(llama, model, windows, args.max_nmse)
    ok &= check_bits(llama, tokenizer, windows, corpora)
    print(routing_table(model, windows))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
