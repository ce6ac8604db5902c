#pragma once

#include <cmath>
#include <cstdint>

namespace moescope {

// A small generator whose numbers are the same everywhere (std's distributions are not): results that rest on drawing
// must repeat. SplitMix64 (Steele, Lea, Flood 2014).
class random_stream {
public:
    explicit random_stream(uint64_t seed) : state_(seed) {}

    uint64_t next() {
        uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
        z          = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z          = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    // [0, 1)
    double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
    // [0, n); n > 0. The bias of the multiplication is below 2^-32 for n < 2^32.
    uint32_t below(uint32_t n) { return static_cast<uint32_t>(((next() >> 32) * uint64_t{n}) >> 32); }
    // Standard normal (Box and Muller).
    double normal() {
        constexpr double two_pi = 6.283185307179586;
        return std::sqrt(-2.0 * std::log(1.0 - uniform())) * std::cos(two_pi * uniform());
    }

private:
    uint64_t state_;
};

}  // namespace moescope
