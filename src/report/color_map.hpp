#pragma once

#include <array>

namespace moescope::report {

struct rgb {
    double r, g, b;  // sRGB, 0 … 1
};

// The page's heat colours on white paper: lightness falls evenly (in OKLab) from the least to the most, so the order
// survives a grey print. t: 0 … 1.
rgb heat_color(double t);

inline constexpr rgb never_color = {0.90, 0.90, 0.91};  // experts that were never selected

}  // namespace moescope::report
