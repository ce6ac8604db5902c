#pragma once

// What the reader asks of the browser; web/viewer/core.ts has it.
namespace moescope::viewer {

// How far a pass through a file's rows has come, 0 to 1. again: it is not the first one; the simulations make those.
extern "C" __attribute__((import_module("viewer"), import_name("progress"))) void tell_progress(double share,
                                                                                                int    again);

}  // namespace moescope::viewer
