#include "report/served_page.hpp"

#include <chrono>

#include "core/error.hpp"
#include "core/version.hpp"
#include "report/caches.hpp"
#include "report/memory.hpp"
#include "report/report.hpp"

namespace moescope::report {

namespace {

constexpr uint64_t tile_tokens   = 4096;     // in the page's data
constexpr uint64_t live_tokens   = 512;      // the same while the trace grows
constexpr uint64_t pairs_in_data = 200'000;  // cells; more are asked for block by block
constexpr int      slice_ms      = 50;       // of reading, before requests get their turn
constexpr auto     look_again    = std::chrono::milliseconds(250);

uint64_t pair_cells(const page_run & run) {
    uint64_t n = 0;
    for (const auto & p : run.pairs.count) {
        n += p.size();
    }
    return n;
}

}  // namespace

served_page::served_page(const server_options & o) : o_(o) {
    if (!o_.model.empty()) {
        memory_      = read_memory(o_.model);
        cache_model_ = cache_model_of(o_.model);
    }
}

void served_page::add(const std::string & path, const std::string & label) {
    auto run = std::make_shared<served_run>(path, label.empty() ? label_of(path) : label, o_.max_pair_cells);
    const std::lock_guard lock(mutex_);
    runs_.push_back(std::move(run));
}

void served_page::start() {
    reading_ = std::thread([this] { read_all(); });
}

void served_page::stop() {
    {
        const std::lock_guard lock(wake_mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (reading_.joinable()) {
        reading_.join();
    }
}

std::vector<std::shared_ptr<served_run>> served_page::all_runs() const {
    const std::lock_guard lock(mutex_);
    return runs_;
}

std::shared_ptr<served_run> served_page::run(std::optional<uint64_t> number) const {
    const std::lock_guard lock(mutex_);
    return number && *number < runs_.size() ? runs_[*number] : nullptr;
}

cache_model served_page::model_of_caches() const {
    const std::lock_guard lock(mutex_);
    return cache_model_;
}

std::string served_page::problem() const {
    const std::lock_guard lock(wake_mutex_);
    return problem_;
}

bool served_page::reading() const {
    for (const auto & r : all_runs()) {
        if (!r->at_end()) {
            return true;
        }
    }
    return false;
}

uint64_t served_page::progress() const {
    uint64_t n = reading() ? 0 : 1;  // the end of reading is news too
    for (const auto & r : all_runs()) {
        n += 2 * (r->ubatches() + 1);
    }
    return n;
}

std::vector<page_run> served_page::summaries() const {
    std::vector<page_run> list;
    for (const auto & r : all_runs()) {
        list.push_back(r->summary(false));
    }
    return list;
}

page served_page::now() const {
    page p;
    p.generator = std::string("moescope ") + version;
    p.served    = true;
    p.progress  = progress();
    p.live      = o_.live || reading();
    {
        const std::lock_guard lock(mutex_);
        p.memory = memory_;
    }
    uint32_t n = 0;
    for (const auto & r : all_runs()) {
        page_run run = r->summary(true);
        run.number   = n++;
        if (run.blocks.empty()) {
            continue;  // nothing routed yet
        }
        const uint64_t keep  = o_.live ? live_tokens : tile_tokens;
        const uint64_t first = o_.live && run.tokens > keep ? run.tokens - keep : 0;
        run.tile             = r->tile(first, keep, o_.text);
        run.text             = o_.text;
        if (run.tile.blocks.size() != run.blocks.size()) {
            run.tile = {};  // a new kind of graph appeared in between; the next answer has it
        }
        if (pair_cells(run) > pairs_in_data) {
            run.pairs.count.assign(run.blocks.size(), {});
        }
        add_memory(p, run, *r);
        p.runs.push_back(std::move(run));
    }
    const std::string what = problem();
    if (!what.empty()) {
        p.notes.push_back(what);
    }
    return p;
}

void served_page::add_memory(page & p, const page_run & run, const served_run & r) const {
    if (p.memory.empty()) {
        return;
    }
    try {
        add_accesses(p.memory, run, r.access_lists());
    } catch (const error & e) {  // another model than this run's
        p.memory.accesses.emplace_back(p.memory.entries.size(), -1);
        p.notes.push_back(e.what());
    }
}

void served_page::read_all() {
    std::unique_lock lock(wake_mutex_);
    while (!stopping_) {
        lock.unlock();
        bool any = false;
        for (const auto & r : all_runs()) {
            any = read_some(*r) || any;
        }
        if (o_.model_from_trace) {
            look_for_model();
        }
        lock.lock();
        if (!any) {
            wake_.wait_for(lock, look_again, [&] { return stopping_; });
        }
    }
}

bool served_page::read_some(served_run & r) {
    try {
        return r.read_on(o_.live, slice_ms);
    } catch (const std::exception & e) {
        const std::lock_guard lock(wake_mutex_);
        problem_ = e.what();
        return false;
    }
}

void served_page::look_for_model() {
    const auto first = run(0);
    const auto path  = first ? first->model().file : std::string();
    if (path.empty()) {
        return;  // the trace does not say yet
    }
    o_.model_from_trace = false;  // one try
    try {
        page_memory           found = read_memory(path);
        cache_model           model = cache_model_of(path);
        const std::lock_guard lock(mutex_);
        memory_      = std::move(found);
        cache_model_ = std::move(model);
    } catch (const error &) {
        // Moved or removed since: the page does without the memory view.
    }
}

}  // namespace moescope::report
