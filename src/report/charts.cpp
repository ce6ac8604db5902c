#include "report/charts.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "core/error.hpp"
#include "report/drawing.hpp"

namespace moescope::report {

namespace {

constexpr double page_width = 504;  // 7 inches: two columns
constexpr double small = 7, normal = 8, title_size = 10;
constexpr size_t max_columns = 1500;  // of tokens; more are drawn as the strongest of several
constexpr rgb    grey = {0.45, 0.45, 0.5}, bar = {0.36, 0.27, 0.68}, mark = {0.83, 0.32, 0.2};

struct box {
    double x, y, width, height;
};

uint64_t count_at(const page_run & run, const page_block & b, uint32_t e) {
    return run.cells.count[b.first_cell + e];
}

double share(const page_run & run, const page_block & b, uint32_t e) {
    const auto begin = run.cells.count.begin() + b.first_cell;
    const auto all   = std::accumulate(begin, begin + b.layout.n_expert, uint64_t(0));
    return all > 0 ? static_cast<double>(count_at(run, b, e)) / static_cast<double>(all) : 0;
}

std::string block_name(const page_block & b) {
    return fmt::format("layer {}{}", b.layout.layer,
                       b.layout.block > 0 ? fmt::format(", block {}", b.layout.block) : "");
}

std::string printable(const std::string & text) {  // names come from files: no control characters in a picture
    std::string out;
    for (const char c : text) {
        out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    }
    return out.size() > 80 ? out.substr(0, 77) + "..." : out;
}

std::string heading(const page_run & run, const std::string & what) {
    const std::string model = printable(run.model.name.empty() ? run.label : run.model.name);
    return fmt::format("{}: {}", model, what);
}

std::string percent(double v) {
    return fmt::format("{:.3g} %", v * 100);
}

// A round step that gives at most n ticks over `range`.
uint32_t tick_step(uint32_t range, uint32_t n) {
    for (uint32_t step = 1;; step *= 10) {
        for (const uint32_t f : {1u, 2u, 5u}) {
            if (range / (step * f) <= n) {
                return step * f;
            }
        }
    }
}

void color_bar(drawing & d, const box & b, const std::string & low, const std::string & high,
               const std::string & name) {
    constexpr int steps = 128;
    for (int i = 0; i < steps; ++i) {
        d.rect(b.x + b.width * i / steps, b.y, b.width / steps + 0.3, b.height, heat_color(double(i) / (steps - 1)));
    }
    d.text(b.x, b.y + b.height + 9, low, small);
    d.text(b.x + b.width, b.y + b.height + 9, high, small, align::right);
    d.text(b.x - 6, b.y + b.height - 0.5, name, small, align::right);
}

void never_key(drawing & d, double x, double y, const char * what) {
    d.rect(x, y, 7, 7, never_color);
    d.text(x + 10, y + 6.5, what, small);
}

// ---- expert_frequency ---------------------------------------------------------------------------------------------

void frequency_panel(drawing & d, const page_run & run, const page_block & b, const box & at, double most) {
    const double step = at.width / b.layout.n_expert;
    for (uint32_t e = 0; e < b.layout.n_expert; ++e) {
        const double h = at.height * share(run, b, e) / most;
        d.rect(at.x + step * e, at.y + at.height - h, std::max(step * 0.82, 0.2), h, bar);
    }
    const double balanced = at.y + at.height * (1 - 1 / (b.layout.n_expert * most));
    d.line(at.x, balanced, at.x + at.width, balanced, mark, 0.6, true);
    d.line(at.x, at.y + at.height, at.x + at.width, at.y + at.height, grey, 0.5);
    d.text(at.x, at.y - 2.5, block_name(b), small);
    d.text(at.x, at.y + at.height + 7, "0", small - 1.5);
    d.text(at.x + at.width, at.y + at.height + 7, fmt::format("{}", b.layout.n_expert - 1), small - 1.5, align::right);
}

paint frequency_chart(const page_run & run, size_t n_columns, double panel_height, double top) {
    return [=, &run](drawing & d) {
        double most = 0;
        for (const page_block & b : run.blocks) {
            for (uint32_t e = 0; e < b.layout.n_expert; ++e) {
                most = std::max(most, share(run, b, e));
            }
        }
        most              = most > 0 ? most : 1;
        const double left = 36, gap = 12,
                     width = (page_width - left - 8 - gap * double(n_columns - 1)) / double(n_columns);
        d.text(left, 16, heading(run, "how often each expert is selected"), title_size, align::left, true);
        d.text(left, 28,
               fmt::format("share of a layer's selections by expert id; dashed: balance; {} tokens", run.tokens),
               small);
        for (size_t i = 0; i < run.blocks.size(); ++i) {
            const box at = {left + double(i % n_columns) * (width + gap),
                            top + double(i / n_columns) * (panel_height + 21), width, panel_height};
            frequency_panel(d, run, run.blocks[i], at, most);
            if (i % n_columns == 0) {
                d.text(at.x - 4, at.y + 5, percent(most), small, align::right);
                d.text(at.x - 4, at.y + at.height, "0", small, align::right);
            }
        }
    };
}

// ---- the two heatmaps ---------------------------------------------------------------------------------------------

void column_ticks(drawing & d, const box & at, uint32_t n, uint64_t first, double per_cell, const std::string & name) {
    const uint32_t step = tick_step(n, 12);
    for (uint32_t c = 0; c < n; c += step) {
        const double x = at.x + (c + 0.5) * per_cell;
        d.line(x, at.y + at.height, x, at.y + at.height + 2.5, grey, 0.5);
        d.text(x, at.y + at.height + 10, fmt::format("{}", first + c), small, align::center);
    }
    d.text(at.x + at.width / 2, at.y + at.height + 21, name, normal, align::center);
}

paint layers_chart(const page_run & run, const box & at, uint32_t n_columns) {
    return [=, &run](drawing & d) {
        double most = 0;
        for (const page_block & b : run.blocks) {
            for (uint32_t e = 0; e < b.layout.n_expert; ++e) {
                most = std::max(most, share(run, b, e));
            }
        }
        const double w = at.width / n_columns, h = at.height / double(run.blocks.size());
        d.text(at.x, 16, heading(run, "experts by layer"), title_size, align::left, true);
        for (size_t r = 0; r < run.blocks.size(); ++r) {
            const page_block & b = run.blocks[r];
            for (uint32_t e = 0; e < b.layout.n_expert; ++e) {
                d.rect(at.x + w * e, at.y + h * double(r), w, h,
                       count_at(run, b, e) == 0 ? never_color : heat_color(share(run, b, e) / most));
            }
        }
        const uint32_t step = tick_step(static_cast<uint32_t>(run.blocks.size()), static_cast<uint32_t>(at.height / 9));
        for (size_t r = 0; r < run.blocks.size(); r += step) {
            d.text(at.x - 4, at.y + h * (double(r) + 0.5) + 2.5, fmt::format("{}", run.blocks[r].layout.layer), small,
                   align::right);
        }
        d.text_upwards(at.x - 22, at.y + at.height / 2, "layer", normal);
        column_ticks(d, at, n_columns, 0, w, "expert");
        color_bar(d, {page_width - 150, at.y + at.height + 16, 110, 6}, "0", percent(most), "share");
        never_key(d, at.x, at.y + at.height + 22, "never selected");
    };
}

// Gate weights of one block along the tile's tokens; columns hold the strongest of `per_column` tokens. [expert][column]
std::vector<float> token_cells(const token_tile & tile, const page_block & b, size_t index, size_t per_column,
                               size_t n_columns) {
    const auto &       rows = tile.blocks[index];
    const size_t       k    = b.layout.n_expert_used;
    std::vector<float> cells(b.layout.n_expert * n_columns);
    for (size_t t = 0; t < tile.size(); ++t) {
        for (size_t j = 0; j < k && (rows.present.empty() || rows.present[t] != 0); ++j) {
            float & cell = cells[rows.ids[t * k + j] * n_columns + t / per_column];
            cell         = std::max(cell, rows.weights.empty() ? 1.0f : rows.weights[t * k + j]);
        }
    }
    return cells;
}

paint tokens_chart(const page_run & run, size_t index, const box & at) {
    return [=, &run](drawing & d) {
        const page_block &       b          = run.blocks[index];
        const token_tile &       tile       = run.tile;
        const size_t             per_column = (tile.size() + max_columns - 1) / max_columns;
        const size_t             n_columns  = (tile.size() + per_column - 1) / per_column;
        const std::vector<float> cells      = token_cells(tile, b, index, per_column, n_columns);
        const double             most       = std::max(1e-9, double(*std::max_element(cells.begin(), cells.end())));
        const double             w = at.width / double(n_columns), h = at.height / b.layout.n_expert;
        d.text(at.x, 16, heading(run, fmt::format("experts of {} along the text", block_name(b))), title_size,
               align::left, true);
        d.rect(at.x, at.y, at.width, at.height, never_color);
        for (uint32_t e = 0; e < b.layout.n_expert; ++e) {
            for (size_t c = 0; c < n_columns; ++c) {
                if (const float v = cells[e * n_columns + c]; v > 0) {
                    d.rect(at.x + w * double(c), at.y + h * e, w, h, heat_color(double(v) / most));
                }
            }
        }
        for (size_t t = 1; t < tile.size(); ++t) {  // where generation begins
            if (tile.phase[t] == 1 && tile.phase[t - 1] == 0) {
                const double x = at.x + at.width * double(t) / double(tile.size());
                d.line(x, at.y - 4, x, at.y + at.height, {0.1, 0.1, 0.14}, 0.6, true);
                d.text(x + 2, at.y - 3, "generated", small);
            }
        }
        const uint32_t step = tick_step(b.layout.n_expert, static_cast<uint32_t>(at.height / 9));
        for (uint32_t e = 0; e < b.layout.n_expert; e += step) {
            d.text(at.x - 4, at.y + h * (e + 0.5) + 2.5, fmt::format("{}", e), small, align::right);
        }
        d.text_upwards(at.x - 22, at.y + at.height / 2, "expert", normal);
        column_ticks(d, at, static_cast<uint32_t>(tile.size()), tile.first, at.width / double(tile.size()), "token");
        color_bar(d, {page_width - 150, at.y + at.height + 16, 110, 6}, "0", fmt::format("{:.3g}", most),
                  "gate weight");
        never_key(d, at.x, at.y + at.height + 22,
                  per_column > 1 ? "not selected; a column shows the strongest of several tokens" : "not selected");
    };
}

size_t find_layer(const page_run & run, int32_t layer) {
    if (layer < 0) {
        return run.blocks.size() / 2;
    }
    for (size_t i = 0; i < run.blocks.size(); ++i) {
        if (run.blocks[i].layout.layer == layer) {
            return i;
        }
    }
    throw usage_error(fmt::format("--chart-layer: there is no MoE layer {}", layer))
        .fix(fmt::format("it takes {} to {}", run.blocks.front().layout.layer, run.blocks.back().layout.layer));
}

chart finish(const std::string & name, double height, const paint & p) {
    return {name, draw_svg(page_width, height, p), draw_png(page_width, height, p)};
}

}  // namespace

std::vector<chart> draw_charts(const page_run & run, int32_t layer) {
    const size_t       index     = find_layer(run, layer);
    uint32_t           n_columns = 0;
    std::vector<chart> charts;
    for (const page_block & b : run.blocks) {
        n_columns = std::max(n_columns, b.layout.n_expert);
    }
    const size_t n_panels = run.blocks.size();
    const size_t across   = n_columns > 64 ? std::min<size_t>(n_panels, 3) : std::min<size_t>(n_panels, 4);
    const size_t down     = (n_panels + across - 1) / across;
    charts.push_back(finish("expert_frequency", 50 + double(down) * 61, frequency_chart(run, across, 40, 48)));
    if (run.tile.size() > 0) {
        const box at = {44, 34, page_width - 54,
                        std::clamp(double(run.blocks[index].layout.n_expert) * 6, 100.0, 420.0)};
        charts.push_back(finish("expert_heatmap", at.y + at.height + 40, tokens_chart(run, index, at)));
    }
    const box at = {44, 26, page_width - 54, std::clamp(double(n_panels) * 9, 80.0, 560.0)};
    charts.push_back(finish("layers_experts", at.y + at.height + 40, layers_chart(run, at, n_columns)));
    return charts;
}

}  // namespace moescope::report
