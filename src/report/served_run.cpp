#include "report/served_run.hpp"
#include "logs/open.hpp"

#include <algorithm>
#include <chrono>

#include "core/error.hpp"
#include "report/caches.hpp"
#include "report/tiles.hpp"

namespace moescope::report {

namespace {

constexpr uint64_t tokens_per_bookmark = 4096;
constexpr int      ubatches_per_look   = 64;  // between two looks at the clock

}  // namespace

served_run::served_run(std::string path, std::string label, uint64_t max_pair_cells)
    : path_(std::move(path)),
      label_(std::move(label)),
      source_(logs::open_source(path_)),
      sums_(max_pair_cells) {}

served_run::~served_run() {
    closing_ = true;
    if (simulation_.joinable()) {
        simulation_.join();
    }
}

bool served_run::read_on(bool live, int budget_ms) {
    using clock = std::chrono::steady_clock;
    const std::lock_guard lock(mutex_);
    const auto            until = clock::now() + std::chrono::milliseconds(budget_ms);
    if (live) {
        source_->refresh();
    }
    if (const expert_counts * counts = source_->stored_counts()) {
        const bool fresh = !counts_taken_ || counts->ubatches != sums_.ubatches();
        sums_.set_counts(*counts);
        counts_taken_ = true;
        at_end_       = true;
        return fresh;
    }
    if (source_->info().notes.size() != notes_taken_) {
        notes_taken_ = source_->info().notes.size();
        sums_.notes(source_->info().notes);
    }
    bool any = false;
    for (int n = 1;; ++n, at_end_ = false) {
        if (bookmarks_.empty() || sums_.tokens() >= bookmarks_.back().tokens + tokens_per_bookmark) {
            if (const auto here = source_->tell()) {
                bookmarks_.push_back({sums_.tokens(), *here});
            }
        }
        routed_ubatch u;
        if (!source_->next(u)) {
            at_end_ = true;
            return any;
        }
        sums_.ubatch(u);
        any = true;
        if (n % ubatches_per_look == 0 && clock::now() >= until) {
            return true;
        }
    }
}

page_prompts served_run::prompts() const {
    const std::lock_guard lock(mutex_);
    return sums_.prompts();
}

uint64_t served_run::tokens() const {
    const std::lock_guard lock(mutex_);
    return sums_.tokens();
}

uint64_t served_run::ubatches() const {
    const std::lock_guard lock(mutex_);
    return sums_.ubatches();
}

page_run served_run::summary(bool with_pairs) const {
    const std::lock_guard lock(mutex_);
    page_run              run = sums_.result();
    run.label                 = label_;
    run.source                = source_->info();
    run.model                 = source_->model();
    if (with_pairs) {
        run.pairs = sums_.pairs();
    }
    return run;
}

model_info served_run::model() const {
    const std::lock_guard lock(mutex_);
    return source_->model();
}

std::vector<access_list> served_run::access_lists() const {
    const std::lock_guard lock(mutex_);
    return source_->access_lists();
}

graph_layout served_run::blocks() const {
    const std::lock_guard lock(mutex_);
    return sums_.blocks();
}

token_tile served_run::tile(uint64_t first, uint64_t count, bool text) {
    const graph_layout known = blocks();
    bookmark           from  = {0, {}};
    uint64_t           end   = 0;
    {
        const std::lock_guard lock(mutex_);
        end           = sums_.tokens();
        const auto at = std::upper_bound(bookmarks_.begin(), bookmarks_.end(), first,
                                         [](uint64_t t, const bookmark & b) { return t < b.tokens; });
        if (at != bookmarks_.begin()) {
            from = *std::prev(at);
        }
    }
    first = std::min(first, end);
    tile_builder          builder(first, std::min(count, end - first), known, from.tokens);
    const std::lock_guard lock(tile_mutex_);
    if (!tile_source_) {
        tile_source_ = logs::open_source(path_);
    }
    tile_source_->refresh();
    tile_source_->seek(from.at);
    uint64_t before = from.tokens;
    for (routed_ubatch u; !builder.full() && before < end && tile_source_->next(u); before += u.n_tokens()) {
        builder.ubatch(u);
    }
    return builder.finish(text ? tile_source_.get() : nullptr);
}

page_cache served_run::caches(uint64_t tokens, const cache_model & model) {
    uint64_t accesses = 0;
    {
        const std::lock_guard lock(mutex_);
        accesses = sums_.accesses();
    }
    if (accesses > max_cache_accesses) {
        return too_many_accesses(accesses);
    }
    const std::lock_guard lock(cache_mutex_);
    if (simulating_ || (!cache_.empty() && cache_.of_tokens >= tokens)) {
        return simulating_ ? page_cache{} : cache_;
    }
    if (simulation_.joinable()) {
        simulation_.join();  // it has said that it is done
    }
    simulating_ = true;
    simulation_ = std::thread([this, tokens, model] {
        page_cache found;
        found.asked = "all";
        try {
            const auto source = logs::open_source(path_);
            found             = simulate_caches(*source, model, [this] { return !closing_; });
        } catch (const error &) {
            // Damaged further on than what was read so far: read_on() says so.
        }
        const std::lock_guard finished(cache_mutex_);
        cache_           = std::move(found);
        cache_.of_tokens = std::max(cache_.of_tokens, tokens);  // also where there was nothing to simulate
        simulating_      = false;
    });
    return {};
}

std::vector<uint64_t> served_run::pairs(uint32_t block) const {
    const std::lock_guard lock(mutex_);
    const graph_layout    blocks = sums_.blocks();
    return block < blocks.size() ? sums_.pairs_of(blocks[block]) : std::vector<uint64_t>();
}

}  // namespace moescope::report
