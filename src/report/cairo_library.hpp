#pragma once

// libcairo, loaded when the first chart is drawn: it brings an X11 stack along that no other command needs, and moescope
// runs where it is not installed.

#include <cairo-svg.h>
#include <cairo.h>

// clang-format off
#define MOESCOPE_CAIRO_FUNCTIONS(X)                                                                               \
    X(create)                                                                                                     \
    X(destroy)                                                                                                    \
    X(fill)                                                                                                       \
    X(image_surface_create) X(line_to) X(move_to) X(paint) X(rectangle) X(restore) X(rotate) X(save) X(scale)     \
        X(select_font_face) X(set_antialias) X(set_dash) X(set_font_size) X(set_line_width) X(set_source_rgb)     \
            X(show_text) X(status) X(status_to_string) X(stroke) X(surface_destroy) X(surface_finish)             \
                X(surface_status) X(surface_write_to_png_stream) X(svg_surface_create_for_stream) X(text_extents) \
                    X(translate)
// clang-format on

namespace moescope::report {

// cairo_create() as create, and so on.
struct cairo_library {
#define X(name) decltype(&::cairo_##name) name;
    MOESCOPE_CAIRO_FUNCTIONS(X)
#undef X
};

// Throws error when it is not installed.
const cairo_library & cairo();

}  // namespace moescope::report
