# %% [markdown]
# # Do code, arithmetic and prose use different experts?
#
# The same question as `moescope analyze specialization`, in numpy. Make the trace with `scripts/demo`, install the reader
# with `pip install ./python`, and run this file: as a whole (`python3 examples/specialisation.py [TRACE]`), or cell by cell
# in an editor that knows `# %%`.

# %%
import json
import os
import sys

import numpy as np

import moescope

default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "out", "demo", "demo.moetrace")
trace = moescope.open(sys.argv[1] if len(sys.argv) > 1 else default)
print(trace)
print(f"{len(trace.tokens):,} tokens, {trace.tokens.phase.sum():,} of them generated")

# %% [markdown]
# ## Which domain is each token of?
#
# `moescope run --label-key domain` left a note for each prompt: its label, and the batch with which it begins.

# %%
prompts = [json.loads(note) for note in trace.notes if note.startswith('{"prompt"')]
domains = list(dict.fromkeys(p["label"] for p in prompts))  # in order of appearance

prompt_begins = np.array([p["batch"] for p in prompts])
prompt_domain = np.array([domains.index(p["label"]) for p in prompts])
prompt_of_token = np.searchsorted(prompt_begins, trace.tokens.batch, side="right") - 1
domain_of_token = prompt_domain[prompt_of_token]

for d, name in enumerate(domains):
    print(f"{name}: {np.sum(prompt_domain == d)} prompts, {np.sum(domain_of_token == d):,} tokens")

# %% [markdown]
# ## How often does each domain select each expert?
#
# `token_index` leads from a layer's rows to the tokens. Counting pairs of (domain, expert) is one `bincount`.


# %%
def count_by_domain(layer):
    """Selections [domain, expert] and rows [domain]."""
    known = layer.token_index >= 0
    domain = domain_of_token[layer.token_index[known]]  # [rows]
    pairs = domain[:, None] * layer.n_expert + layer.ids[known]  # [rows, k]
    count = np.bincount(pairs.ravel(), minlength=len(domains) * layer.n_expert)
    return count.reshape(len(domains), layer.n_expert), np.bincount(domain, minlength=len(domains))


counts, rows = {}, {}
for number, layer in trace.layers.items():
    counts[number], rows[number] = count_by_domain(layer)

# %% [markdown]
# ## How far are the domains apart?
#
# The Jensen–Shannon distance of their shares: 0 where they use the experts alike, 1 where they share none.


# %%
def distance(p, q):
    """The root of the Jensen–Shannon divergence in bits."""
    middle = (p + q) / 2

    def divergence(a):
        used = a > 0
        return np.sum(a[used] * np.log2(a[used] / middle[used]))

    return np.sqrt((divergence(p) + divergence(q)) / 2)


print("\ndistance of domains, mean over layers")
for a in range(len(domains)):
    for b in range(a + 1, len(domains)):
        layers = [distance(c[a] / c[a].sum(), c[b] / c[b].sum()) for c in counts.values()]
        print(f"{domains[a]:<12}{domains[b]:<12}{np.mean(layers):.3f}")

# %% [markdown]
# A distance alone says little: few rows look different from anything. `moescope analyze specialization` puts beside it what
# two halves of one domain show.
#
# ## Which experts serve one domain above all?

# %%
print("\nexperts that a domain selects most above the others, in % of its rows and of theirs")
for d, name in enumerate(domains):
    found = []
    for number, count in counts.items():
        own = count[d] / rows[number][d]
        elsewhere = (count.sum(axis=0) - count[d]) / (rows[number].sum() - rows[number][d])
        found += [(own[e] - elsewhere[e], number, e, own[e], elsewhere[e]) for e in range(len(own))]
    for _, number, e, own, elsewhere in sorted(found, reverse=True)[:3]:
        print(f"{name}: layer {number}, expert {e}: {100 * own:.2f} {100 * elsewhere:.2f}")
