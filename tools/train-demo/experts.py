"""The experts of one layer for all tokens at once: forward and backward written out by hand.

Tokens are sorted by expert, so that each expert is a few matrix products over one contiguous slice. Slices are
padded with zero rows to a multiple of PAD rows: oneDNN compiles a kernel for every new shape, which costs far more
than multiplying some zeros. Autograd over the same loop would record thousands of small nodes per step; one function
with its own backward is several times faster on a CPU.
"""
import torch
import torch.nn.functional as F

PAD = 64


class Slots:
    """Where each (token, choice) goes among rows sorted by expert and padded."""

    def __init__(self, ids, n_expert):
        n, k = ids.shape
        flat = ids.flatten()
        counts = torch.bincount(flat, minlength=n_expert)
        padded = torch.div(counts + PAD - 1, PAD, rounding_mode="floor") * PAD
        self.bounds = padded.cumsum(0).tolist()
        order = flat.argsort(stable=True)
        shift = (padded.cumsum(0) - padded) - (counts.cumsum(0) - counts)
        self.slot_of_choice = torch.empty_like(order)
        self.slot_of_choice[order] = torch.arange(n * k) + shift[flat[order]]
        self.choice_of_slot = torch.full((self.bounds[-1],), n * k)  # n * k stands for "no choice: padding"
        self.choice_of_slot[self.slot_of_choice] = torch.arange(n * k)
        self.token_of_slot = torch.div(self.choice_of_slot, k, rounding_mode="floor")

    def slices(self):
        start = 0
        for e, end in enumerate(self.bounds):
            if end > start:
                yield e, slice(start, end)
            start = end

    def gather_tokens(self, x):
        return with_zero_row(x).index_select(0, self.token_of_slot)

    def mm(self, x, w):
        """Rows of x in expert e's slice times w[e]."""
        out = torch.empty(x.shape[0], w.shape[2], dtype=x.dtype)
        for e, s in self.slices():
            torch.mm(x[s], w[e], out=out[s])
        return out

    def outer(self, a, b):
        """a^T b over each expert's slice, in f32: the gradient of that expert's matrix."""
        out = torch.zeros(len(self.bounds), a.shape[1], b.shape[1])
        for e, s in self.slices():
            out[e] = torch.mm(a[s].t(), b[s])
        return out


def with_zero_row(x):
    return torch.cat([x, x.new_zeros(1, *x.shape[1:])])


class ExpertFFN(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weights, ids, gate_up, down, dtype):
        slots = Slots(ids, gate_up.shape[0])
        w_gu, w_d = gate_up.to(dtype), down.to(dtype)
        xs = slots.gather_tokens(x.to(dtype))
        h = slots.mm(xs, w_gu)
        gate, up = h.chunk(2, -1)
        act = F.silu(gate) * up
        ys = slots.mm(act, w_d)
        ye = ys.index_select(0, slots.slot_of_choice).view(*ids.shape, -1)
        y = torch.bmm(weights.to(dtype).unsqueeze(1), ye).squeeze(1)
        ctx.save_for_backward(xs, h, act, ye, weights, w_gu, w_d)
        ctx.slots = slots
        return y

    @staticmethod
    def backward(ctx, dy):
        xs, h, act, ye, weights, w_gu, w_d = ctx.saved_tensors
        slots, dy = ctx.slots, dy.to(xs.dtype)
        d_weights = torch.bmm(ye, dy.unsqueeze(-1)).squeeze(-1).float()
        scale = with_zero_row(weights.flatten()).index_select(0, slots.choice_of_slot).to(xs.dtype)
        dys = slots.gather_tokens(dy) * scale.unsqueeze(-1)
        d_act = slots.mm(dys, w_d.transpose(1, 2))
        gate, up = h.chunk(2, -1)
        sig = torch.sigmoid(gate)
        silu = gate * sig
        dh = torch.cat([d_act * up * (sig + silu * (1 - sig)), d_act * silu], -1)
        dxs = slots.mm(dh, w_gu.transpose(1, 2))
        dx = dxs.index_select(0, slots.slot_of_choice).view(*weights.shape, -1).sum(1).float()
        return dx, d_weights, None, slots.outer(xs, dh), slots.outer(act, dys), None


def expert_ffn(x, weights, ids, gate_up, down):
    """sum over the chosen experts of weight * down(silu(gate x) * up x).

    x [n, n_embd], weights and ids [n, k], gate_up [E, n_embd, 2 n_ff], down [E, n_ff, n_embd]."""
    dtype = torch.bfloat16 if torch.is_autocast_cpu_enabled() else torch.float32
    return ExpertFFN.apply(x, weights, ids, gate_up, down, dtype)
