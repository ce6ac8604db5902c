#include "report/drawing.hpp"

#include <cmath>
#include <memory>

#include "core/error.hpp"
#include "report/cairo_library.hpp"

namespace moescope::report {

namespace {

constexpr double pixels_per_inch = 300, points_per_inch = 72;

struct free_surface {
    void operator()(cairo_surface_t * s) const { cairo().surface_destroy(s); }
};
struct free_cairo {
    void operator()(cairo_t * c) const { cairo().destroy(c); }
};
using surface_ptr = std::unique_ptr<cairo_surface_t, free_surface>;
using cairo_ptr   = std::unique_ptr<cairo_t, free_cairo>;

cairo_status_t append(void * out, const unsigned char * data, unsigned int size) {
    static_cast<std::string *>(out)->append(reinterpret_cast<const char *>(data), size);
    return CAIRO_STATUS_SUCCESS;
}

void must(cairo_status_t status) {
    if (status != CAIRO_STATUS_SUCCESS) {
        throw error(std::string("the chart cannot be drawn: ") + cairo().status_to_string(status));
    }
}

void set_color(cairo_t * c, rgb color) {
    cairo().set_source_rgb(c, color.r, color.g, color.b);
}

void set_font(cairo_t * c, double size, bool bold) {
    cairo().select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                             bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo().set_font_size(c, size);
    set_color(c, {0.1, 0.1, 0.14});
}

void paint_on(cairo_surface_t * surface, double scale, const paint & p) {
    const cairo_ptr c(cairo().create(surface));
    cairo().scale(c.get(), scale, scale);
    set_color(c.get(), {1, 1, 1});
    cairo().paint(c.get());
    drawing d(c.get());
    p(d);
    must(cairo().status(c.get()));
}

}  // namespace

void drawing::rect(double x, double y, double width, double height, rgb color) {
    cairo().set_antialias(cairo_, CAIRO_ANTIALIAS_NONE);  // neighbours leave no hairline between them
    set_color(cairo_, color);
    cairo().rectangle(cairo_, x, y, width, height);
    cairo().fill(cairo_);
    cairo().set_antialias(cairo_, CAIRO_ANTIALIAS_DEFAULT);
}

void drawing::line(double x0, double y0, double x1, double y1, rgb color, double thickness, bool dashed) {
    const double dash[] = {2.5, 2};
    set_color(cairo_, color);
    cairo().set_line_width(cairo_, thickness);
    cairo().set_dash(cairo_, dash, dashed ? 2 : 0, 0);
    cairo().move_to(cairo_, x0, y0);
    cairo().line_to(cairo_, x1, y1);
    cairo().stroke(cairo_);
}

void drawing::text(double x, double y, const std::string & text, double size, align how, bool bold) {
    set_font(cairo_, size, bold);
    cairo_text_extents_t e;
    cairo().text_extents(cairo_, text.c_str(), &e);
    cairo().move_to(cairo_, how == align::left ? x : how == align::center ? x - e.x_advance / 2 : x - e.x_advance, y);
    cairo().show_text(cairo_, text.c_str());
}

void drawing::text_upwards(double x, double y, const std::string & text, double size) {
    cairo().save(cairo_);
    cairo().translate(cairo_, x, y);
    cairo().rotate(cairo_, -3.14159265358979323846 / 2);
    this->text(0, 0, text, size, align::center);
    cairo().restore(cairo_);
}

std::string draw_svg(double width, double height, const paint & p) {
    std::string out;
    {
        const surface_ptr surface(cairo().svg_surface_create_for_stream(append, &out, width, height));
        must(cairo().surface_status(surface.get()));
        paint_on(surface.get(), 1, p);
        cairo().surface_finish(surface.get());
        must(cairo().surface_status(surface.get()));
    }
    return out;
}

std::string draw_png(double width, double height, const paint & p) {
    const double      scale = pixels_per_inch / points_per_inch;
    const surface_ptr surface(cairo().image_surface_create(
        CAIRO_FORMAT_RGB24, static_cast<int>(std::ceil(width * scale)), static_cast<int>(std::ceil(height * scale))));
    must(cairo().surface_status(surface.get()));
    paint_on(surface.get(), scale, p);
    std::string out;
    must(cairo().surface_write_to_png_stream(surface.get(), append, &out));
    return out;
}

}  // namespace moescope::report
