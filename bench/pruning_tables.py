"""The tables of bench/pruning-demo, as Markdown.

models: {name: {domain: Perplexity as a dict}}, where a name is "full", "random/KEEP/SEED" or "PROFILE/KEEP/CRITERION/DRAW".
"""

import math

import numpy as np

import perplexity
from corpus import DOMAINS

CRITERIA = {
    "reap": "reap",
    "ean": "ean_mean",
    "frequency": "activation_frequency",
}  # and their keys in expert_stats.json
PROFILES = ("mixed", *DOMAINS)


def n_draws(profile, args):
    return args.draws if profile == "mixed" else 1


def row(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |")


def head(*cells):
    row(*cells)
    print("|" + "---|" * len(cells))


def group(profile, keep, args):
    """{criterion: names of its models} of what is compared: the same profile, the same number of experts."""
    found = {c: [f"{profile}/{keep}/{c}/{draw + 1}" for draw in range(n_draws(profile, args))] for c in CRITERIA}
    found["random"] = [f"random/{keep}/{seed}" for seed in args.seeds]
    return found


def values(models, names, domain):
    return [models[n][domain]["value"] for n in names]


def winner(models, compared, domain):
    """The criterion of which every model is better than every model of the others, or None. One draw decides nothing."""
    if len(compared["reap"]) < 2:
        return None
    best = min(compared, key=lambda c: max(values(models, compared[c], domain)))
    others = [n for c, names in compared.items() if c != best for n in names]
    return best if max(values(models, compared[best], domain)) < min(values(models, others, domain)) else None


def shown(models, names, domain):
    """Geometric mean, and the lowest and highest where there are several."""
    found = values(models, names, domain)
    mean = f"{np.exp(np.mean(np.log(found))):.1f}"
    return mean if len(found) == 1 else f"{mean} ({min(found):.1f} to {max(found):.1f})"


def bits_per_byte(value, text):
    return math.log2(value) * text["tokens"] / text["bytes"]


def print_full(models, texts):
    full = models["full"]
    errors = [m["error"] / m["value"] for of in models.values() for m in of.values()]
    print("\nThe full model\n")
    head("", *DOMAINS)
    row("held-out text, bytes", *(texts[d]["bytes"] for d in DOMAINS))
    row("tokens", *(texts[d]["tokens"] for d in DOMAINS))
    row("chunks", *(len(full[d]["chunk_nats"]) for d in DOMAINS))
    row("perplexity ± one standard error", *(f"{full[d]['value']:.2f} ± {full[d]['error']:.2f}" for d in DOMAINS))
    row("bits per byte", *(f"{bits_per_byte(full[d]['value'], texts[d]):.3f}" for d in DOMAINS))
    print(f"\nThe standard errors of all models are {min(errors):.1%} to {max(errors):.1%} of the perplexity.")


def print_perplexities(models, args):
    print(
        f"\nPerplexity: mean (lowest to highest), of {args.draws} draws of the mixed text and of {len(args.seeds)} random "
        "seeds. Bold: every one below every other of its group\n"
    )
    head("profile", "kept", "criterion", *DOMAINS)
    row("–", "all", "–", *(shown(models, ["full"], d) for d in DOMAINS))
    for profile in PROFILES:
        for keep in args.keep:
            compared = group(profile, keep, args)
            best = {d: winner(models, compared, d) for d in DOMAINS}
            for criterion, names in compared.items():
                mark = {d: "**" if best[d] == criterion else "" for d in DOMAINS}
                row(profile, keep, criterion, *(mark[d] + shown(models, names, d) + mark[d] for d in DOMAINS))


def print_ratios(models, args):
    print("\nPerplexity divided by that of REAP on the same chunks, means of all draws [95 % interval over chunks]\n")
    head("profile", "kept", "criterion", *DOMAINS)
    for profile in PROFILES:
        for keep in args.keep:
            nats = {
                c: [{d: models[n][d]["chunk_nats"] for d in DOMAINS} for n in names]
                for c, names in group(profile, keep, args).items()
            }
            for c in list(nats)[1:]:
                ratios = [perplexity.ratio([m[d] for m in nats[c]], [m[d] for m in nats["reap"]]) for d in DOMAINS]
                row(profile, keep, c, *("{:.2f} [{:.2f}, {:.2f}]".format(*r) for r in ratios))


def lost_share(scores, counts, keep):
    """Share of a domain's selections that go to experts outside the best `keep` of their layer, mean over layers.

    scores and counts are {layer: [n_expert]}; ties go to the lower id, as in prune.
    """
    shares = []
    for layer, score in scores.items():
        dropped = np.argsort(-np.asarray(score), kind="stable")[keep:]
        shares.append(np.asarray(counts[layer])[dropped].sum() / np.sum(counts[layer]))
    return float(np.mean(shares))


def print_lost(profiles, args):
    print(
        "\nShare of each domain's selections (training text) whose expert is pruned by the profile of mixed text, mean of the "
        "draws\n"
    )
    head("kept", "criterion", *DOMAINS)
    column = lambda name, key: {layer: of[key] for layer, of in profiles[name].items()}
    draws = range(1, args.draws + 1)
    for keep in args.keep:
        for criterion, key in CRITERIA.items():
            lost = {
                d: [lost_share(column(f"mixed-{i}", key), column(f"{d}-1", "activation_counts"), keep) for i in draws]
                for d in DOMAINS
            }
            row(keep, criterion, *(f"{np.mean(lost[d]):.0%}" for d in DOMAINS))


def print_tables(models, texts, profiles, args):
    """texts: {domain: bytes and tokens of its held-out text}; profiles: {PROFILE-DRAW: expert_stats}."""
    print_full(models, texts)
    print_perplexities(models, args)
    print_ratios(models, args)
    print_lost(profiles, args)
