"""Data-parallel training on one machine: each worker is a process with one thread and its share of the batch.

Workers meet three times a step instead of at every operation. That matters on a machine that also does other work:
with one process and several threads, each small operation waits for whichever thread the kernel has put aside.

Parameters, gradients and optimizer state are flat vectors in shared memory; worker r also owns the r-th slice of them
and does AdamW for that slice only.
"""
import math
from multiprocessing import connection

import torch
import torch.multiprocessing as mp

BETA1, BETA2, EPS, MAX_NORM = 0.9, 0.95, 1e-8, 1.0


class BiasBalancer:
    """Balance without a loss (arXiv:2408.15664, Algorithm 1): after each step the selection bias of an expert that got fewer
    tokens than the mean rises by `rate`, of one that got more it falls. Empty for routers without a bias."""

    def __init__(self, model, n_worker, rate=2e-3):
        self.blocks = [b.moe for b in model.blocks if model.cfg.sigmoid]
        self.rate = rate
        self.bias = torch.zeros(len(self.blocks), model.cfg.n_expert).share_memory_()
        self.counts = torch.zeros(n_worker, len(self.blocks), model.cfg.n_expert).share_memory_()
        for moe, bias in zip(self.blocks, self.bias):
            moe.selection_bias = bias

    def count(self, rank):
        for moe, counts in zip(self.blocks, self.counts[rank]):
            counts.copy_(moe.selected)

    def update(self):
        counts = self.counts.sum(0)
        self.bias += self.rate * torch.sign(counts.mean(-1, keepdim=True) - counts)


class SharedState:
    """What all workers see. Created before the fork."""

    def __init__(self, model, n_worker, weight_decay):
        parameters = list(model.parameters())
        n = sum(p.numel() for p in parameters)
        zeros = lambda *shape: torch.zeros(*shape).share_memory_()
        self.n_worker = n_worker
        self.param, self.m, self.v = zeros(n), zeros(n), zeros(n)
        self.grad = zeros(n_worker, n)
        self.square_norm = zeros(n_worker)
        self.metrics = zeros(n_worker, 2)
        self.balancer = BiasBalancer(model, n_worker)
        self.decay = torch.cat([torch.full((p.numel(),), weight_decay if p.dim() > 1 else 0.0) for p in parameters])
        self.barrier = mp.Barrier(n_worker)
        with torch.no_grad():
            for p, view in zip(parameters, self.views(self.param, parameters)):
                view.copy_(p)
                p.data = view

    @staticmethod
    def views(flat, parameters):
        return [part.view(p.shape) for part, p in zip(flat.split([p.numel() for p in parameters]), parameters)]

    def bind_gradients(self, model, rank):
        """Let backward() accumulate into this worker's shared gradient."""
        parameters = list(model.parameters())
        for p, view in zip(parameters, self.views(self.grad[rank], parameters)):
            p.grad = view

    @torch.no_grad()
    def update(self, rank, step, lr):
        """One AdamW step (arXiv:1711.05101) on the mean gradient clipped to norm MAX_NORM. Called by all workers."""
        n = self.param.numel()
        own = slice(rank * n // self.n_worker, (rank + 1) * n // self.n_worker)
        self.balancer.count(rank)
        self.barrier.wait()  # all gradients and counts are there
        g = self.grad[:, own].mean(0)
        self.square_norm[rank] = g.square().sum()
        self.barrier.wait()  # all norms are there, and nobody reads the gradients any more
        g *= min(1.0, MAX_NORM / (math.sqrt(self.square_norm.sum().item()) + 1e-6))
        p, m, v = self.param[own], self.m[own], self.v[own]
        m.lerp_(g, 1 - BETA1)
        v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
        p.addcmul_(p, self.decay[own], value=-lr)
        denominator = v.sqrt().div_(math.sqrt(1 - BETA2 ** (step + 1))).add_(EPS)
        p.addcdiv_(m, denominator, value=-lr / (1 - BETA1 ** (step + 1)))
        self.grad[rank].zero_()
        if rank == 0:
            self.balancer.update()
        self.barrier.wait()  # all parameters are new

    def state_dict(self):
        return {"param": self.param, "m": self.m, "v": self.v, "selection_bias": self.balancer.bias}

    def load_state_dict(self, state):
        for name, value in state.items():
            getattr(self, name).copy_(value)


def run_workers(n_worker, work):
    """Forks n_worker processes that run work(rank) and waits for them; True if all went well.

    If one fails the others would wait for it for ever, so they are ended."""
    context = mp.get_context("fork")
    processes = [context.Process(target=work, args=(rank,)) for rank in range(n_worker)]
    for p in processes:
        p.start()
    running = {p.sentinel: p for p in processes}
    while running:
        for sentinel in connection.wait(running):
            finished = running.pop(sentinel)
            finished.join()
            if finished.exitcode != 0:
                for p in running.values():
                    p.kill()
    return all(p.exitcode == 0 for p in processes)
