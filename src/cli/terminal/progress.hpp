#pragma once

#include <cstdint>
#include <string>

namespace moescope::cli {

// How far something is, on stderr: a bar on a terminal, a line every few seconds elsewhere, silent with -q. Counts to
// `total` (0: unknown).
class progress {
public:
    progress(std::string what, uint64_t total, std::string unit);
    ~progress();  // clears the bar
    // done: may be a fraction where one of `total` takes long. extra: e.g. "1,234 tokens/s".
    void update(double done, const std::string & extra = {});

private:
    void draw(double done, const std::string & extra);

    std::string what_, unit_;
    uint64_t    total_;
    uint64_t    started_ns_, drawn_ns_ = 0;
    bool        drawn_ = false;
};

}  // namespace moescope::cli
