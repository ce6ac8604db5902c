#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "report/caches.hpp"
#include "report/collector.hpp"
#include "report/page_data.hpp"
#include "trace/source.hpp"

namespace moescope::report {

// One trace behind the server: its sums so far, and a way to any of its tokens. Holds nothing that grows with the
// tokens but a bookmark for every few thousand of them, and where each prompt begins. All methods may be called from any thread.
class served_run {
public:
    // Opens the trace or foreign log; reads nothing yet. Throws error.
    served_run(std::string path, std::string label, uint64_t max_pair_cells);
    ~served_run();

    // Reads on for at most about `budget_ms`, looking first for what was appended where `live`. Returns whether there
    // was anything to read. Throws error where the trace is damaged; what was read stays.
    bool read_on(bool live, int budget_ms);

    bool     at_end() const { return at_end_; }  // of what was there when it was last looked at
    uint64_t tokens() const;
    uint64_t ubatches() const;
    // Without a tile.
    page_run                 summary(bool with_pairs) const;
    model_info               model() const;
    std::vector<access_list> access_lists() const;
    // Tokens [first, first + count) as far as they exist.
    token_tile            tile(uint64_t first, uint64_t count, bool text);
    graph_layout          blocks() const;
    std::vector<uint64_t> pairs(uint32_t block) const;  // empty: not kept, or no such block
    page_prompts          prompts() const;              // that were read so far
    // Simulated caches of at least the first `tokens` tokens. Empty: asked for, and not there yet.
    page_cache caches(uint64_t tokens, const cache_model & model);

private:
    struct bookmark {
        uint64_t        tokens;  // before it
        trace::position at;
    };

    std::string                          path_, label_;
    mutable std::mutex                   mutex_;  // guards what reading changes
    std::unique_ptr<trace::trace_source> source_;
    run_collector                        sums_;
    std::vector<bookmark>                bookmarks_;
    bool                                 counts_taken_ = false;
    size_t                               notes_taken_  = 0;
    std::atomic<bool>                    at_end_{false};

    std::mutex                           tile_mutex_;  // guards the second reader
    std::unique_ptr<trace::trace_source> tile_source_;

    std::mutex        cache_mutex_;
    page_cache        cache_;  // the last one simulated, under cache_mutex_
    bool              simulating_ = false;
    std::atomic<bool> closing_{false};
    std::thread       simulation_;
};

}  // namespace moescope::report
