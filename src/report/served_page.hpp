#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "report/caches.hpp"
#include "report/page_data.hpp"
#include "report/served_run.hpp"
#include "report/server.hpp"

namespace moescope::report {

// What a server shows: its runs, read in a thread of its own so that nobody waits for it, and the model's memory.
// All methods may be called from any thread.
class served_page {
public:
    // Opens the model, if any. Throws error where it cannot be read.
    explicit served_page(const server_options & o);
    ~served_page() { stop(); }

    void add(const std::string & path, const std::string & label);  // throws error where the file is not a trace
    void start();
    void stop();

    uint64_t progress() const;  // differs whenever now() would
    page     now() const;       // everything but most tokens: the first ones, or the newest of a live trace
    std::shared_ptr<served_run> run(std::optional<uint64_t> number) const;  // nullptr: there is none
    std::vector<page_run>       summaries() const;
    cache_model                 model_of_caches() const;
    std::string                 problem() const;  // what went wrong while reading; empty: nothing

private:
    std::vector<std::shared_ptr<served_run>> all_runs() const;
    bool                                     reading() const;  // some run is not at its end
    void                                     add_memory(page & p, const page_run & run, const served_run & r) const;
    void                                     read_all();
    bool                                     read_some(served_run & r);
    void                                     look_for_model();

    server_options                           o_;
    mutable std::mutex                       mutex_;  // guards the next three
    std::vector<std::shared_ptr<served_run>> runs_;
    page_memory                              memory_;
    cache_model                              cache_model_;

    mutable std::mutex      wake_mutex_;  // guards the next two that are no condition
    std::condition_variable wake_;
    bool                    stopping_ = false;
    std::string             problem_;
    std::thread             reading_;
};

}  // namespace moescope::report
