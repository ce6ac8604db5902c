#include "report/damage_charts.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>

#include "report/drawing.hpp"

namespace moescope::report {

namespace {

constexpr double damage_width = 504;  // 7 inches: two columns
constexpr double fine_print = 7, heading_size = 10;
constexpr double decades    = 3;  // of damage that have colours of their own; less is drawn as the least
constexpr rgb    grid_color = {0.87, 0.87, 0.89};
// Okabe and Ito's colours, which most people can tell apart.
constexpr rgb curve_colors[] = {{0.0, 0.45, 0.70},  {0.84, 0.37, 0.0}, {0.0, 0.62, 0.45}, {0.8, 0.47, 0.65},
                                {0.34, 0.71, 0.91}, {0.9, 0.62, 0.0},  {0.35, 0.35, 0.4}};

struct panel_box {
    double x, y, width, height;
};

using damage_rows = std::vector<const page_damage::row *>;

std::string shown_name(const std::string & text) {
    std::string out;
    for (const char c : text) {
        out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    }
    return out.size() > 60 ? out.substr(0, 57) + "..." : out;
}

std::string panel_name(const page_damage & d, size_t set) {
    return set == 0 ? "the whole text" : shown_name(d.labels[set - 1]);
}

void damage_heading(drawing & d, const page_damage & damage, const char * what) {
    d.text(10, 16, fmt::format("{}: {}", shown_name(damage.model), what), heading_size, align::left, true);
    d.text(10, 28,
           fmt::format("KL(full model, changed model) in nats per token; {}, {} tokens", shown_name(damage.corpus),
                       damage.tokens),
           fine_print);
}

// Panels of one size, as many beside each other as `across`.
panel_box panel_at(size_t i, size_t across, double top, double height, double left, double gap_y) {
    const double w = (damage_width - 10) / double(across);
    return {10 + left + double(i % across) * w, top + double(i / across) * (height + gap_y), w - left - 14, height};
}

// The least of 1, 2, 5 times a power of ten that is no less than x.
double round_scale(double x) {
    const double power = std::pow(10, std::floor(std::log10(x)));
    for (const double f : {1.0, 2.0, 5.0}) {
        if (f * power >= x * (1 - 1e-9)) {
            return f * power;
        }
    }
    return 10 * power;
}

// ---- damage_curves ------------------------------------------------------------------------------------------------

std::map<std::string, damage_rows> criterion_curves(const page_damage & d) {
    std::map<std::string, damage_rows> curves;
    for (const page_damage::row & r : d.rows) {
        if (!r.criterion.empty() && r.keep >= 0) {
            curves[r.criterion].push_back(&r);
        }
    }
    for (auto & [name, points] : curves) {
        std::stable_sort(points.begin(), points.end(), [](auto * a, auto * b) { return a->keep < b->keep; });
    }
    return curves;
}

void curve_panel(drawing & d, const std::map<std::string, damage_rows> & curves, size_t set, uint32_t n_expert,
                 const panel_box & at) {
    double most       = 0;
    int    least_keep = static_cast<int>(n_expert);
    for (const auto & [name, points] : curves) {
        for (const page_damage::row * r : points) {
            const page_damage::cell & c = r->cells[set];
            most                        = std::max({most, c.kl, std::isnan(c.kl_high) ? 0 : c.kl_high});
            least_keep                  = std::min(least_keep, r->keep);
        }
    }
    most              = round_scale(most > 0 ? most : 1);
    const double span = std::max(1.0, double(n_expert) - least_keep);
    const auto   x    = [&](double keep) { return at.x + at.width * (double(n_expert) - keep) / span; };
    const auto   y    = [&](double kl) { return at.y + at.height * (1 - kl / most); };
    for (int tick = 0; tick <= 4; ++tick) {
        const double v = most * tick / 4;
        d.line(at.x, y(v), at.x + at.width, y(v), grid_color, 0.5);
        d.text(at.x - 3, y(v) + 2.5, fmt::format("{:.3g}", v), fine_print, align::right);
    }
    std::set<int> keeps = {static_cast<int>(n_expert)};
    size_t        color = 0;
    for (const auto & [name, points] : curves) {
        const rgb ink    = curve_colors[color++ % std::size(curve_colors)];
        double    last_x = x(n_expert), last_y = y(0);  // all experts kept: no damage
        for (auto it = points.rbegin(); it != points.rend(); ++it) {
            const page_damage::cell & c  = (*it)->cells[set];
            const double              px = x((*it)->keep), py = y(c.kl);
            d.line(last_x, last_y, px, py, ink, 1.1);
            if (!std::isnan(c.kl_low)) {
                d.line(px, y(c.kl_low), px, y(c.kl_high), ink, 0.6);
            }
            d.rect(px - 1.3, py - 1.3, 2.6, 2.6, ink);
            last_x = px;
            last_y = py;
            keeps.insert((*it)->keep);
        }
    }
    for (const int keep : keeps) {
        d.text(x(keep), at.y + at.height + 9, fmt::format("{}", keep), fine_print, align::center);
    }
}

paint curves_chart(const page_damage & damage, size_t across, double height) {
    return [=, &damage](drawing & d) {
        const auto curves = criterion_curves(damage);
        damage_heading(d, damage, "damage by experts kept");
        double x     = 10;
        size_t color = 0;
        for (const auto & [name, points] : curves) {
            d.rect(x, 35, 8, 3, curve_colors[color++ % std::size(curve_colors)]);
            d.text(x + 11, 39.5, shown_name(name), fine_print);
            x += 22 + 4.2 * double(name.size());
        }
        for (size_t set = 0; set <= damage.labels.size(); ++set) {
            const panel_box at = panel_at(set, across, 58, height, 26, 34);
            d.text(at.x, at.y - 5, panel_name(damage, set), fine_print, align::left, true);
            curve_panel(d, curves, set, damage.n_expert, at);
            d.text(at.x + at.width, at.y + at.height + 18, "experts kept in each layer", fine_print, align::right);
        }
    };
}

// ---- damage_experts -----------------------------------------------------------------------------------------------

void expert_panel(drawing & d, const damage_rows & experts, const std::vector<int32_t> & layers, size_t set,
                  uint32_t n_expert, double most, const panel_box & at) {
    const double w = at.width / n_expert, h = at.height / double(layers.size());
    d.rect(at.x, at.y, at.width, at.height, never_color);
    for (const page_damage::row * r : experts) {
        const auto   row = std::lower_bound(layers.begin(), layers.end(), r->layer) - layers.begin();
        const double kl  = r->cells[set].kl;
        if (kl > 0) {
            d.rect(at.x + w * r->expert, at.y + h * double(row), w, h, heat_color(1 + std::log10(kl / most) / decades));
        }
    }
    const size_t step = std::max<size_t>(1, layers.size() / static_cast<size_t>(std::max(1.0, at.height / 9)));
    for (size_t row = 0; row < layers.size(); row += step) {
        d.text(at.x - 3, at.y + h * (double(row) + 0.5) + 2.5, fmt::format("{}", layers[row]), fine_print,
               align::right);
    }
    d.text(at.x, at.y + at.height + 8, "0", fine_print);
    d.text(at.x + at.width, at.y + at.height + 8, fmt::format("{}", n_expert - 1), fine_print, align::right);
    d.text(at.x + at.width / 2, at.y + at.height + 8, "expert", fine_print, align::center);
}

paint experts_chart(const page_damage & damage, const damage_rows & experts, const std::vector<int32_t> & layers,
                    size_t across, double height) {
    return [=, &damage](drawing & d) {
        double   most     = 0;
        uint32_t n_expert = damage.n_expert;
        for (const page_damage::row * r : experts) {
            n_expert = std::max(n_expert, static_cast<uint32_t>(r->expert) + 1);
            for (const page_damage::cell & c : r->cells) {
                most = std::max(most, c.kl);
            }
        }
        most = most > 0 ? most : 1;
        damage_heading(d, damage, "damage without one expert alone");
        for (size_t set = 0; set <= damage.labels.size(); ++set) {
            const panel_box at = panel_at(set, across, 52, height, 20, 26);
            d.text(at.x, at.y - 4, panel_name(damage, set), fine_print, align::left, true);
            expert_panel(d, experts, layers, set, n_expert, most, at);
        }
        for (int i = 0; i < 64; ++i) {
            d.rect(damage_width - 160 + i * 1.6, 34, 1.7, 5, heat_color(i / 63.0));
        }
        d.text(damage_width - 164, 39, fmt::format("{:.2g}", most / std::pow(10, decades)), fine_print, align::right);
        d.text(damage_width - 54, 39, fmt::format("{:.2g}", most), fine_print);
    };
}

chart finished_damage(const std::string & name, double height, const paint & p) {
    return {name, draw_svg(damage_width, height, p), draw_png(damage_width, height, p)};
}

}  // namespace

std::vector<chart> draw_damage_charts(const page_damage & d) {
    std::vector<chart> charts;
    const size_t       n_sets = d.labels.size() + 1, across = std::min<size_t>(n_sets, 2),
                 down = (n_sets + across - 1) / across;
    if (!criterion_curves(d).empty()) {
        constexpr double height = 120;
        charts.push_back(
            finished_damage("damage_curves", 58 + double(down) * (height + 34), curves_chart(d, across, height)));
    }
    damage_rows       experts;
    std::set<int32_t> layers;
    for (const page_damage::row & r : d.rows) {
        if (r.expert >= 0) {
            experts.push_back(&r);
            layers.insert(r.layer);
        }
    }
    if (!experts.empty()) {
        const double height = std::clamp(double(layers.size()) * 9, 40.0, 400.0);
        charts.push_back(finished_damage("damage_experts", 52 + double(down) * (height + 26),
                                         experts_chart(d, experts, {layers.begin(), layers.end()}, across, height)));
    }
    return charts;
}

}  // namespace moescope::report
