#!/usr/bin/python3
"""Writes stretches of the held-out text as JSON lines {"text": …, "domain": …}, for `moescope run --jsonl`."""
import argparse
import json

from corpus import DOMAINS, add_corpus_options, pieces, read_corpora


def parse_args():
    p = argparse.ArgumentParser(description=__doc__)
    add_corpus_options(p)
    p.add_argument("-o", "--output", required=True)
    p.add_argument("--samples", type=int, default=48, help="stretches per domain (default: %(default)s)")
    p.add_argument("--chars", type=int, default=800, help="characters of each (default: %(default)s, some 300 tokens)")
    return p.parse_args()


def main():
    args = parse_args()
    corpora = read_corpora(args)
    with open(args.output, "w", encoding="utf-8") as out:
        for d in DOMAINS:
            for text in pieces(corpora[d][1], args.samples, args.chars):
                out.write(json.dumps({"text": text, "domain": d}) + "\n")


if __name__ == "__main__":
    main()
