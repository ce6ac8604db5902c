#pragma once

#include <functional>
#include <string>

#include "report/color_map.hpp"

struct _cairo;

namespace moescope::report {

enum class align { left, center, right };

// A page to draw on, in points (1/72 inch), y downwards.
class drawing {
public:
    explicit drawing(_cairo * cairo) : cairo_(cairo) {}

    void rect(double x, double y, double width, double height, rgb color);
    void line(double x0, double y0, double x1, double y1, rgb color, double thickness = 0.6, bool dashed = false);
    void text(double x, double y, const std::string & text, double size, align how = align::left, bool bold = false);
    void text_upwards(double x, double y, const std::string & text, double size);  // centred on y

private:
    _cairo * cairo_;
};

using paint = std::function<void(drawing & d)>;

// The picture as SVG, or as PNG of 300 pixels per inch, on white. Throws error when drawing fails.
std::string draw_svg(double width, double height, const paint & p);
std::string draw_png(double width, double height, const paint & p);

}  // namespace moescope::report
