#pragma once

namespace moescope {

inline constexpr char version[] = MOESCOPE_VERSION;  // set by CMake from project(VERSION)

}  // namespace moescope
