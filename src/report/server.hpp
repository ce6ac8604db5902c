#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace moescope::report {

struct server_options {
    int         port = 0;                  // of 127.0.0.1; 0: any free one
    bool        live = false;              // the traces may still grow
    bool        text = true;               // with the texts of the tokens
    std::string model;                     // path of the GGUF for the memory view; empty: none
    bool        model_from_trace = false;  // without a model: the file that the first trace names, where it can be read
    uint64_t    max_pair_cells   = 50'000'000;  // per run, in memory
};

// The page from a local server. It reads the traces' files in a thread of its own and answers in others, so whoever
// writes the files never waits for it: `record --live=PORT` adds each trace as it appears.
//
// Reachable from this machine alone (127.0.0.1), under a path that begins with a random token; requests whose Host is
// another name, whose token is wrong, or that ask for anything unknown get 403 or 404. No path names a file.
//
//   /TOKEN/          the page           /TOKEN/data[?since=N]              everything but most tokens; 204: as before
//   /metrics         Prometheus         /TOKEN/tokens?run=&first=&count=   a stretch of tokens
//                                       /TOKEN/pairs?run=&block=           co-selections of one block
//                                       /TOKEN/prompts?run=                 where each prompt or request begins
//                                       /TOKEN/caches?run=&tokens=         simulated caches; 204: ask again
class page_server {
public:
    // Opens the model, if any, and listens. Throws error where the port is taken or the model cannot be read.
    explicit page_server(server_options o);
    ~page_server();  // stops

    // May be called at any time, from any thread. Throws error where the file is not a trace. label: empty for the file's name.
    void add_trace(const std::string & path, const std::string & label = {});

    std::string url() const;      // "http://127.0.0.1:PORT/TOKEN/"
    std::string problem() const;  // what went wrong while reading, e.g. a damaged trace; empty: nothing
    void        stop();

private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace moescope::report
