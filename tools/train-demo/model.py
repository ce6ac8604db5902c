"""The architectures qwen3moe and dots1, as llama.cpp computes them, written for training on a CPU.

RMS norm before attention and before the experts, RMS norm of every query and key head, NeoX rotary positions,
grouped-query attention without biases; experts down(silu(gate x) * up x), whose top-k weights are normalised to sum 1.
The output matrix is the embedding matrix. The two differ in the router:

    qwen3moe  a softmax, kept even by a loss
    dots1     a sigmoid per expert; what is selected are the scores plus a bias, which rises for experts that get too few
              tokens (arXiv:2408.15664) and has no part in the weights; weights are scaled, and a shared expert serves
              every token
"""
from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from experts import expert_ffn


@dataclass
class Config:
    n_vocab: int = 2048
    n_ctx: int = 512
    n_layer: int = 6
    n_embd: int = 224
    n_head: int = 4
    n_head_kv: int = 2
    head_dim: int = 64
    n_expert: int = 32
    n_expert_used: int = 4
    n_ff_exp: int = 96
    rope_base: float = 10000.0
    norm_eps: float = 1e-6
    arch: str = "qwen3moe"
    weights_scale: float = 1.0
    n_expert_shared: int = 0

    @property
    def sigmoid(self):
        return self.arch == "dots1"

    def as_dict(self):
        return asdict(self)


MODELS = {
    "demo": Config(),
    "demo-sigmoid": Config(arch="dots1", n_embd=192, n_head=3, n_head_kv=3, weights_scale=2.0, n_expert_shared=1),
}


class RMSNorm(nn.Module):
    def __init__(self, n, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))
        self.eps = eps

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotary_table(cfg, n_pos):
    freq = cfg.rope_base ** (-torch.arange(0, cfg.head_dim, 2).float() / cfg.head_dim)
    angle = torch.outer(torch.arange(n_pos).float(), freq)
    return torch.cat([angle.cos()] * 2, -1), torch.cat([-angle.sin(), angle.sin()], -1)


def rotate(x, table):
    """NeoX order: dimension i turns with dimension i + head_dim/2. x: [batch, head, pos, head_dim]."""
    cos, sin = table
    half = x.shape[-1] // 2
    swapped = torch.cat([x[..., half:], x[..., :half]], -1)
    return x * cos + swapped * sin


class Attention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        n_q, n_kv = cfg.n_head * cfg.head_dim, cfg.n_head_kv * cfg.head_dim
        self.q = nn.Linear(cfg.n_embd, n_q, bias=False)
        self.k = nn.Linear(cfg.n_embd, n_kv, bias=False)
        self.v = nn.Linear(cfg.n_embd, n_kv, bias=False)
        self.out = nn.Linear(n_q, cfg.n_embd, bias=False)
        self.q_norm = RMSNorm(cfg.head_dim, cfg.norm_eps)
        self.k_norm = RMSNorm(cfg.head_dim, cfg.norm_eps)

    def forward(self, x, table, mask):
        cfg, (b, t, _) = self.cfg, x.shape
        heads = lambda y, n: y.view(b, t, n, cfg.head_dim).transpose(1, 2)
        q = rotate(self.q_norm(heads(self.q(x), cfg.n_head)), table) * cfg.head_dim**-0.5
        k = rotate(self.k_norm(heads(self.k(x), cfg.n_head_kv)), table)
        v = heads(self.v(x), cfg.n_head_kv)
        # the query heads of one group share a key head: stack them along the position axis
        rows = t * cfg.n_head // cfg.n_head_kv
        q = q.reshape(b * cfg.n_head_kv, rows, cfg.head_dim)
        k, v = (y.reshape(b * cfg.n_head_kv, t, cfg.head_dim).to(v.dtype) for y in (k, v))
        with torch.autocast("cpu", enabled=False):  # it would do the softmax in f32, the largest tensor here
            p = torch.baddbmm(mask.to(v.dtype), q.to(v.dtype), k.transpose(1, 2)).softmax(-1)
            y = torch.bmm(p, v).view(b, cfg.n_head, t, cfg.head_dim)
        return self.out(y.transpose(1, 2).reshape(b, t, -1))


class SharedExpert(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        n_ff = cfg.n_ff_exp * cfg.n_expert_shared
        self.gate = nn.Linear(cfg.n_embd, n_ff, bias=False)
        self.up = nn.Linear(cfg.n_embd, n_ff, bias=False)
        self.down = nn.Linear(n_ff, cfg.n_embd, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class MoE(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.router = nn.Linear(cfg.n_embd, cfg.n_expert, bias=False)
        self.gate_up = nn.Parameter(torch.empty(cfg.n_expert, cfg.n_embd, 2 * cfg.n_ff_exp))
        self.down = nn.Parameter(torch.empty(cfg.n_expert, cfg.n_ff_exp, cfg.n_embd))
        if cfg.sigmoid:
            self.register_buffer("selection_bias", torch.zeros(cfg.n_expert))
            self.register_buffer("selected", torch.zeros(cfg.n_expert))  # tokens per expert, in the latest forward
        if cfg.n_expert_shared > 0:
            self.shared = SharedExpert(cfg)

    def forward(self, x):
        cfg = self.cfg
        flat = x.reshape(-1, cfg.n_embd)
        with torch.autocast("cpu", enabled=False):
            logits = self.router(flat.float())
            probs = logits.sigmoid() if cfg.sigmoid else logits.softmax(-1)
        weights, ids = self.select(probs)
        weights = weights / weights.sum(-1, keepdim=True) * cfg.weights_scale
        y = expert_ffn(flat, weights, ids, self.gate_up, self.down)
        if cfg.n_expert_shared > 0:
            y = y + self.shared(flat)
        return y.view_as(x), self.balance_loss(probs, ids)

    def select(self, probs):
        if not self.cfg.sigmoid:
            return probs.topk(self.cfg.n_expert_used, -1)
        ids = (probs + self.selection_bias).topk(self.cfg.n_expert_used, -1).indices
        self.selected.copy_(torch.bincount(ids.flatten(), minlength=self.cfg.n_expert))
        return probs.gather(-1, ids), ids

    def balance_loss(self, probs, ids):
        """Switch Transformer's (arXiv:2101.03961, Eq. 4): n_expert * sum of share * mean probability; 1 when even."""
        share = torch.bincount(ids.flatten(), minlength=self.cfg.n_expert).float() / ids.numel()
        probs = probs / probs.sum(-1, keepdim=True) if self.cfg.sigmoid else probs
        return self.cfg.n_expert * (share * probs.mean(0)).sum()


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.attn_norm = RMSNorm(cfg.n_embd, cfg.norm_eps)
        self.attn = Attention(cfg)
        self.ffn_norm = RMSNorm(cfg.n_embd, cfg.norm_eps)
        self.moe = MoE(cfg)

    def forward(self, x, table, mask):
        x = x + self.attn(self.attn_norm(x), table, mask)
        y, balance = self.moe(self.ffn_norm(x))
        return x + y, balance


class Model(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.embed = nn.Embedding(cfg.n_vocab, cfg.n_embd)
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.n_layer))
        self.norm = RMSNorm(cfg.n_embd, cfg.norm_eps)
        self._init_weights()

    def _init_weights(self):
        residual_std = 0.02 / (2 * self.cfg.n_layer) ** 0.5
        for name, p in self.named_parameters():
            if p.dim() > 1:
                into_residual = name.endswith(("attn.out.weight", "moe.down", "shared.down.weight"))
                nn.init.normal_(p, std=residual_std if into_residual else 0.02)

    def forward(self, ids):
        """ids [batch, pos] -> (logits [batch, pos, n_vocab] in f32, mean balance loss over the layers)."""
        t = ids.shape[1]
        table = rotary_table(self.cfg, t)
        mask = torch.full((t, t), float("-inf")).triu(1).repeat(self.cfg.n_head // self.cfg.n_head_kv, 1)
        x = self.embed(ids)
        balance = 0.0
        for block in self.blocks:
            x, b = block(x, table, mask)
            balance = balance + b
        logits = F.linear(self.norm(x), self.embed.weight)
        return logits.float(), balance / self.cfg.n_layer
