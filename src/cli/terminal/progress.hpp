#pragma once

#include <cstdint>
#include <string>

namespace moescope::cli {

// How far something is, on stderr: a bar on a terminal, a line every few seconds elsewhere, silent with -q. Counts to
// `total` (0: unknown).
class progress {
public:
    progress(std::string what, uint64_t total, std::string unit);
    ~progress();                                                 // clears the bar
    void update(uint64_t done, const std::string & extra = {});  // extra: e.g. "1,234 tokens/s"

private:
    void draw(uint64_t done, const std::string & extra);

    std::string what_, unit_;
    uint64_t    total_;
    uint64_t    started_ns_, drawn_ns_ = 0;
    bool        drawn_ = false;
};

}  // namespace moescope::cli
