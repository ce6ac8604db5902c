"""How far apart the domains are in the experts they use."""
from itertools import combinations

import numpy as np
import torch

from corpus import DOMAINS


@torch.no_grad()
def expert_counts(model, rows):
    """How often each expert is selected: [n_layer, n_expert]."""
    cfg = model.cfg
    counts = torch.zeros(cfg.n_layer, cfg.n_expert)

    def count_into(il, moe):
        def hook(_module, _inputs, logits):
            scores = logits.sigmoid() + moe.selection_bias if cfg.sigmoid else logits
            ids = scores.topk(cfg.n_expert_used, -1).indices.flatten()
            counts[il] += torch.bincount(ids, minlength=cfg.n_expert)

        return hook

    hooks = [b.moe.router.register_forward_hook(count_into(il, b.moe)) for il, b in enumerate(model.blocks)]
    for row in rows:
        model(torch.from_numpy(row[None, :-1]))
    for h in hooks:
        h.remove()
    return counts.numpy()


def js_distance(a, b):
    """Jensen-Shannon distance (square root of the divergence in bits) between two count vectors."""
    p, q = a / a.sum(), b / b.sum()
    m = (p + q) / 2
    kl = lambda x: np.sum(x[x > 0] * np.log2(x[x > 0] / m[x > 0]))
    return float(np.sqrt((kl(p) + kl(q)) / 2))


def routing_table(model, windows):
    """Per layer: the distance of each pair of domains, and of the two halves of each domain's held-out windows."""
    half = len(next(iter(windows.values()))) // 2
    halves = {d: (expert_counts(model, w[:half]), expert_counts(model, w[half:])) for d, w in windows.items()}
    whole = {d: a + b for d, (a, b) in halves.items()}
    pairs = list(combinations(DOMAINS, 2))
    head = ["layer", *(f"{a} / {b}" for a, b in pairs), *(f"{d}, two halves" for d in DOMAINS), "never selected"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for il in range(model.cfg.n_layer):
        between = [js_distance(whole[a][il], whole[b][il]) for a, b in pairs]
        within = [js_distance(halves[d][0][il], halves[d][1][il]) for d in DOMAINS]
        dead = int((sum(whole[d][il] for d in DOMAINS) == 0).sum())
        lines.append(f"| {il} | " + " | ".join(f"{x:.2f}" for x in between + within) + f" | {dead} |")
    return "\n".join(lines)
