#include "report/color_map.hpp"

#include <algorithm>
#include <cmath>

namespace moescope::report {

namespace {

struct oklab {
    double l, a, b;
};

oklab from_lch(double l, double c, double hue_degrees) {
    const double hue = hue_degrees * 3.14159265358979323846 / 180;
    return {l, c * std::cos(hue), c * std::sin(hue)};
}

double gamma(double linear) {
    const double v = std::clamp(linear, 0.0, 1.0);
    return v <= 0.0031308 ? 12.92 * v : 1.055 * std::pow(v, 1 / 2.4) - 0.055;
}

// Björn Ottosson's OKLab, inverse.
rgb to_srgb(const oklab & c) {
    const double l = std::pow(c.l + 0.3963377774 * c.a + 0.2158037573 * c.b, 3);
    const double m = std::pow(c.l - 0.1055613458 * c.a - 0.0638541728 * c.b, 3);
    const double s = std::pow(c.l - 0.0894841775 * c.a - 1.291485548 * c.b, 3);
    return {gamma(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
            gamma(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
            gamma(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s)};
}

// The stops of web/src/color.ts, light theme.
const std::array<oklab, 6> stops = {from_lch(0.965, 0.03, 95), from_lch(0.89, 0.085, 88),  from_lch(0.77, 0.15, 62),
                                    from_lch(0.62, 0.185, 25), from_lch(0.45, 0.165, 340), from_lch(0.265, 0.11, 288)};

}  // namespace

rgb heat_color(double t) {
    const double at = std::clamp(t, 0.0, 1.0) * (stops.size() - 1);
    const auto   i  = std::min<size_t>(static_cast<size_t>(at), stops.size() - 2);
    const double f  = at - static_cast<double>(i);
    const oklab &x = stops[i], &y = stops[i + 1];
    return to_srgb({x.l + f * (y.l - x.l), x.a + f * (y.a - x.a), x.b + f * (y.b - x.b)});
}

}  // namespace moescope::report
