"""The tables of bench/pruning-demo, as Markdown.

measured: {profile: {(criterion, keep): {label: [units, 8] sums}}}; a profile is mixed-1, mixed-2, … or a domain. Labels of text from
other sources end in *. An increase is of the mean NLL per token, in nats; a mean over domains counts each the same.
"""

import numpy as np

from moeval import KL, NLL_CHANGED, NLL_FULL, TOKENS

N_BOOTSTRAP = 2000


def row(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |")


def head(*cells):
    row(*cells)
    print("|" + "---|" * len(cells))


def mixed(measured):
    return [p for p in measured if p.startswith("mixed-")]


def labels_of(measured, other):
    some = next(iter(next(iter(measured.values())).values()))
    return [label for label in some if label.endswith("*") == other]


def criteria_of(measured, profile):
    return list(dict.fromkeys(criterion for criterion, _ in measured[profile]))


def per_token(sums, column):
    return float(sums[:, column].sum() / sums[:, TOKENS].sum())


def increase(sums):
    return per_token(sums, NLL_CHANGED) - per_token(sums, NLL_FULL)


def mean_over_draws(measured, profiles, criterion, keep, label, of=increase):
    return float(np.mean([of(measured[p][criterion, keep][label]) for p in profiles]))


def resampled(measured, profiles, criterion, keep, label, draws):
    """[N_BOOTSTRAP] increases, mean over the profiles; `draws` are weights of units, the same for whatever is compared."""
    total = 0.0
    for p in profiles:
        sums = measured[p][criterion, keep][label]
        change = draws @ (sums[:, NLL_CHANGED] - sums[:, NLL_FULL])
        total = total + change / (draws @ sums[:, TOKENS])
    return total / len(profiles)


def unit_draws(measured, labels):
    rng, some = np.random.default_rng(1), next(iter(next(iter(measured.values())).values()))
    draws = {}
    for label in labels:
        n = len(some[label])
        draws[label] = rng.multinomial(n, np.full(n, 1 / n), size=N_BOOTSTRAP).astype(float)
    return draws


def interval(values):
    low, high = np.quantile(values, [0.025, 0.975])
    return f"[{low:.3f}, {high:.3f}]"


def print_increases(measured, keeps, other):
    labels, profiles = labels_of(measured, other), mixed(measured)
    draws = unit_draws(measured, labels)
    for keep in keeps:
        print(f"\n{keep} kept, profiles of mixed text\n")
        head("criterion", "mean", "95 %", "worst", *labels, "KL, mean")
        rows = []
        for criterion in criteria_of(measured, profiles[0]):
            by_label = [mean_over_draws(measured, profiles, criterion, keep, label) for label in labels]
            kl = [mean_over_draws(measured, profiles, criterion, keep, x, lambda s: per_token(s, KL)) for x in labels]
            spread = np.mean([resampled(measured, profiles, criterion, keep, x, draws[x]) for x in labels], axis=0)
            rows.append((np.mean(by_label), criterion, interval(spread), by_label, np.mean(kl)))
        for mean, criterion, spread, by_label, kl in sorted(rows, key=lambda r: -r[0]):
            cells = (f"{x:.3f}" for x in (max(by_label), *by_label))
            row(criterion, f"{mean:.3f}", spread, *cells, f"{kl:.3f}")


def print_paired(measured, keeps, other, winner, rivals):
    """Winner against rivals on the same units: ratio of the means, and the difference in each domain."""
    labels, profiles = labels_of(measured, other), mixed(measured)
    draws = unit_draws(measured, labels)
    head("kept", f"{winner} against", "ratio of the means [95 %]", *(f"{x}: difference [95 %]" for x in labels))
    for keep in keeps:
        for rival in rivals:
            of = lambda criterion, x: resampled(measured, profiles, criterion, keep, x, draws[x])
            ours, theirs = {x: of(winner, x) for x in labels}, {x: of(rival, x) for x in labels}
            ratio = np.mean(list(ours.values()), axis=0) / np.mean(list(theirs.values()), axis=0)
            differences = [ours[x] - theirs[x] for x in labels]
            row(
                keep,
                rival,
                f"{np.median(ratio):.2f} {interval(ratio)}",
                *(f"{np.median(d):+.3f} {interval(d)}" for d in differences),
            )


def print_single(measured, keeps, labels):
    domains = [p for p in measured if not p.startswith("mixed-")]
    head("profile", "kept", "criterion", *labels)
    for profile in domains:
        for keep in keeps:
            for criterion in criteria_of(measured, profile):
                row(
                    profile,
                    keep,
                    criterion,
                    *(f"{increase(measured[profile][criterion, keep][x]):.3f}" for x in labels),
                )


def print_draws(measured, keeps, labels):
    profiles = mixed(measured)
    head("kept", "criterion", *(f"draw {i + 1}" for i in range(len(profiles))))
    for keep in keeps:
        for criterion in criteria_of(measured, profiles[0]):
            means = [np.mean([increase(measured[p][criterion, keep][x]) for x in labels]) for p in profiles]
            row(keep, criterion, *(f"{m:.3f}" for m in means))


def print_tables(measured, keeps):
    own, other = labels_of(measured, False), labels_of(measured, True)
    some = next(iter(next(iter(measured.values())).values()))
    print("The text\n")
    head("", *own, *other)
    row("samples", *(len(some[x]) for x in own + other))
    row("predicted tokens", *(int(some[x][:, TOKENS].sum()) for x in own + other))
    row("full model, nats per token", *(f"{per_token(some[x], NLL_FULL):.3f}" for x in own + other))
    winner = "removal, labels"
    rivals = [c for c in criteria_of(measured, mixed(measured)[0]) if c != winner]
    for title, is_other, labels in (("the training's sources", False, own), ("other sources", True, other)):
        if labels:
            print(f"\n## Increase of NLL, held-out text of {title}")
            print_increases(measured, keeps, is_other)
            print(f"\n{winner}, against each other criterion (ratio below 1, difference below 0: it costs less)\n")
            print_paired(measured, keeps, is_other, winner, rivals)
    print("\n## Profiles of one domain\n")
    print_single(measured, keeps, own)
    print("\n## Mean increase by draw\n")
    print_draws(measured, keeps, own)
