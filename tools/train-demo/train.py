#!/usr/bin/python3
"""Trains a demo model. README.md has the command; see export.py for the GGUF and check.py for the checks.

The learning rate warms up, stays at its peak and falls to zero over the last part of the steps. While it is at its
peak, what has been done does not depend on --steps: a run may be stopped and resumed with another --steps, and equals
one that had that number from the start.
"""
import argparse
import os
import signal
import sys
import time
from pathlib import Path

# oneDNN compiles a kernel per shape; the defaults throw them away before the next step needs them again
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4096")
os.environ.setdefault("LRU_CACHE_CAPACITY", "4096")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F

from corpus import DOMAINS, add_corpus_options
from data import held_out_windows, prepare, training_batch
from model import MODELS, Model
from workers import SharedState, run_workers


def parse_args():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_corpus_options(p)
    p.add_argument("--model", choices=MODELS, default="demo", help="which one (default: %(default)s)")
    p.add_argument("--work", required=True, help="folder for tokenizer, token streams, checkpoints and the log")
    p.add_argument("--steps", type=int, default=1050)
    p.add_argument("--batch", type=int, default=8, help="sequences of one context length per step")
    p.add_argument("--lr", type=float, default=2e-3, help="peak learning rate")
    p.add_argument("--warmup", type=int, default=100, help="steps to the peak")
    p.add_argument("--decay", type=float, default=0.29, help="share of the steps over which the rate falls to zero")
    p.add_argument("--weight-decay", type=float, default=0.1)
    p.add_argument("--balance", type=float, default=0.01, help="weight of the load-balancing loss")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--workers", type=int, default=2, help="processes, one thread each; part of what a seed repeats")
    p.add_argument("--save-every", type=int, default=50)
    p.add_argument("--eval-every", type=int, default=250)
    return p.parse_args()


def learning_rate(args, step):
    left = (args.steps - step) / (args.decay * args.steps)
    return args.lr * min(1.0, (step + 1) / args.warmup, max(left, 0.0))


def loss_of(model, rows):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, balance = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()), balance


@torch.no_grad()
def held_out_losses(model, held_out, n_ctx):
    return {d: loss_of(model, held_out_windows(held_out[d], 8, n_ctx))[0].item() for d in DOMAINS}


class Checkpoint:
    def __init__(self, folder, cfg, shared):
        self.path, self.cfg, self.shared = Path(folder) / "checkpoint.pt", cfg, shared

    def save(self, step, seconds):
        state = {"config": self.cfg.as_dict(), "step": step, "seconds": seconds, **self.shared.state_dict()}
        torch.save(state, self.path.with_suffix(".tmp"))
        self.path.with_suffix(".tmp").rename(self.path)

    def load(self):
        """(next step, seconds spent so far)"""
        if not self.path.exists():
            return 0, 0.0
        state = torch.load(self.path)
        self.shared.load_state_dict({name: state[name] for name in self.shared.state_dict()})
        return state["step"], state["seconds"]


class Progress:
    def __init__(self, args, n_ctx, step, seconds):
        self.args, self.tokens = args, args.batch * n_ctx
        self.begin, self.mark = time.time() - seconds, (time.time(), step)

    def seconds(self):
        return time.time() - self.begin

    def line(self, step, loss, balance):
        now, (then, before) = time.time(), self.mark
        self.mark = (now, step)
        print(
            f"{self.seconds():7.0f} s  step {step:5d}/{self.args.steps}  lr {learning_rate(self.args, step):.2e}  "
            f"loss {loss:.3f}  balance {balance:.3f}  {(step - before) * self.tokens / (now - then):.0f} tokens/s",
            flush=True,
        )


class Trainer:
    def __init__(self, args):
        self.args, self.cfg = args, MODELS[args.model]
        _, self.train, self.held_out = prepare(args, self.cfg.n_vocab)
        self.model = Model(self.cfg)
        self.shared = SharedState(self.model, args.workers, args.weight_decay)
        self.checkpoint = Checkpoint(args.work, self.cfg, self.shared)
        self.first_step, self.seconds = self.checkpoint.load()
        # a signal sets the first in the parent; worker 0 copies it once a step, so that all stop at the same step
        self.stop_asked, self.stop = torch.zeros(1).share_memory_(), torch.zeros(1).share_memory_()

    def step(self, rank, step):
        args = self.args
        rows = training_batch(self.train, args.seed, step, args.batch, self.cfg.n_ctx)[rank :: args.workers]
        loss, balance = loss_of(self.model, rows)
        (loss + args.balance * balance).backward()
        self.shared.metrics[rank] = torch.stack([loss.detach(), balance.detach()])
        self.shared.update(rank, step, learning_rate(args, step))

    def work(self, rank):
        torch.set_num_threads(1)
        for s in (signal.SIGTERM, signal.SIGINT):
            signal.signal(s, signal.SIG_IGN)  # the parent decides when to stop
        self.shared.bind_gradients(self.model, rank)
        progress, step = Progress(self.args, self.cfg.n_ctx, self.first_step, self.seconds), self.first_step
        while step < self.args.steps and not self.stop.item():
            self.step(rank, step)
            step += 1
            if rank == 0:
                self.report(step, progress)
                self.stop.copy_(self.stop_asked)
            self.shared.barrier.wait()
        if rank == 0:
            self.checkpoint.save(step, progress.seconds())

    def report(self, step, progress):
        if step % 20 == 0:
            progress.line(step, *self.shared.metrics.mean(0).tolist())
        if step % self.args.save_every == 0:
            self.checkpoint.save(step, progress.seconds())
        if step % self.args.eval_every == 0:
            losses = held_out_losses(self.model, self.held_out, self.cfg.n_ctx)
            print("held-out nats per token:", {d: round(v, 3) for d, v in losses.items()}, flush=True)

    def run(self):
        for s in (signal.SIGTERM, signal.SIGINT):
            signal.signal(s, lambda *_: self.stop_asked.fill_(1))
        print("training tokens:", {d: len(self.train[d]) for d in DOMAINS}, flush=True)
        return run_workers(self.args.workers, self.work)


def main():
    args = parse_args()
    Path(args.work).mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    sys.exit(0 if Trainer(args).run() else 1)


if __name__ == "__main__":
    main()
