#pragma once

#include <cstdint>
#include <string>

namespace moescope::make_model {

// A counter-based generator (SplitMix64, Steele et al. 2014): cheap, and any place of any tensor can be the start.
class random_stream {
public:
    // The stream of a row of a tensor (or of any other named thing).
    random_stream(uint64_t seed, const std::string & name, uint64_t row)
        : state_(mix(seed ^ hash(name)) ^ mix(row + 1)) {}

    uint64_t next() { return mix(state_ += 0x9E3779B97F4A7C15u); }
    double   uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }  // [0, 1)
    double   uniform(double low, double high) { return low + (high - low) * uniform(); }
    uint64_t below(uint64_t n) { return static_cast<uint64_t>(uniform() * static_cast<double>(n)); }

private:
    static uint64_t mix(uint64_t z) {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
    static uint64_t hash(const std::string & text) {  // FNV-1a
        uint64_t h = 0xCBF29CE484222325u;
        for (unsigned char c : text) {
            h = (h ^ c) * 0x100000001B3u;
        }
        return h;
    }

    uint64_t state_;
};

}  // namespace moescope::make_model
