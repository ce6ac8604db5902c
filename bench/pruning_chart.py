"""The chart of bench/pruning-demo: mean increase of NLL against experts kept, a line per criterion. Plain SVG."""

import numpy as np

from pruning_tables import labels_of, mean_over_draws, mixed

SHOWN = {
    "reap": "#c44e52",
    "man": "#dd8452",
    "frequency": "#8172b3",
    "reap-sum": "#4c72b0",
    "easy-ep": "#64b5cd",
    "removal, labels": "#1a7f37",
    "random": "#8c8c8c",
}
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 360, 60, 20, 170, 45
TICKS = (0.1, 0.2, 0.5, 1, 2, 4)


def draw(measured, keeps, path):
    labels, profiles = labels_of(measured, False), mixed(measured)
    lines = {
        c: [np.mean([mean_over_draws(measured, profiles, c, k, x) for x in labels]) for k in keeps]
        for c in SHOWN
        if (c, keeps[0]) in measured[profiles[0]]
    }
    top, bottom = np.log(max(TICKS)), np.log(min(TICKS))
    x_of = lambda i: LEFT + i * (WIDTH - LEFT - RIGHT) / max(1, len(keeps) - 1)
    y_of = lambda v: TOP + (top - np.log(np.clip(v, min(TICKS), max(TICKS)))) / (top - bottom) * (HEIGHT - TOP - BOTTOM)
    text = '<text x="{:.0f}" y="{:.0f}" font-size="12" font-family="sans-serif" {}>{}</text>'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">']
    parts.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    for tick in TICKS:
        y = y_of(tick)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(text.format(LEFT - 8, y + 4, 'text-anchor="end"', tick))
    for i, keep in enumerate(keeps):
        parts.append(text.format(x_of(i), HEIGHT - BOTTOM + 20, 'text-anchor="middle"', f"{keep} kept"))
    ends = sorted(((values[-1], c) for c, values in lines.items()), reverse=True)
    y_label = -np.inf
    for value, criterion in ends:
        points = " ".join(f"{x_of(i):.1f},{y_of(v):.1f}" for i, v in enumerate(lines[criterion]))
        width = 3 if criterion.startswith("removal") else 1.6
        parts.append(f'<polyline points="{points}" fill="none" stroke="{SHOWN[criterion]}" stroke-width="{width}"/>')
        y_label = max(y_of(value), y_label + 15)
        parts.append(text.format(WIDTH - RIGHT + 8, y_label + 4, f'fill="{SHOWN[criterion]}"', criterion))
    parts.append(
        text.format(LEFT, HEIGHT - 6, "", "mean increase of NLL over three domains, nats per token (logarithmic)")
    )
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join([*parts, "</svg>"]) + "\n")
