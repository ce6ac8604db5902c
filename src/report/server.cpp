#include "report/server.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <thread>

#include <sys/random.h>

#include <fmt/format.h>
#include <httplib.h>

#include "core/error.hpp"
#include "core/version.hpp"
#include "report/html.hpp"
#include "report/memory.hpp"
#include "report/metrics.hpp"
#include "report/page_bundle.hpp"
#include "report/served_run.hpp"

namespace moescope::report {

namespace {

constexpr int      n_answering     = 8;        // threads
constexpr int      seconds_to_wait = 5;        // for a client that reads or writes slowly
constexpr uint64_t tile_tokens     = 4096;     // in the page's data
constexpr uint64_t live_tokens     = 512;      // the same while the trace grows
constexpr uint64_t max_tile_tokens = 16384;    // in one answer
constexpr uint64_t pairs_in_data   = 200'000;  // cells; more are asked for block by block
constexpr int      slice_ms        = 50;       // of reading, before requests get their turn
constexpr auto     look_again      = std::chrono::milliseconds(250);

std::string random_token() {
    unsigned char bytes[16];
    if (::getrandom(bytes, sizeof(bytes), 0) != static_cast<ssize_t>(sizeof(bytes))) {
        throw error("no random numbers for the page's address");
    }
    std::string out;
    for (const unsigned char b : bytes) {
        out += fmt::format("{:02x}", b);
    }
    return out;
}

bool same_secret(const std::string & a, const std::string & b) {   // in a time that does not depend on where they differ
    unsigned char different = a.size() != b.size();
    for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
        different |= static_cast<unsigned char>(a[i] ^ b[i]);
    }
    return different == 0;
}

std::optional<uint64_t> number(const httplib::Request & request, const char * name) {
    const std::string text = request.get_param_value(name);
    if (text.empty() || text.size() > 15 || text.find_first_not_of("0123456789") != std::string::npos) {
        return std::nullopt;
    }
    return std::stoull(text);
}

std::string label_of(const std::string & path) {
    const size_t      slash = path.find_last_of('/');
    const std::string name  = slash == std::string::npos ? path : path.substr(slash + 1);
    const size_t      dot   = name.rfind(".moetrace");
    return dot == std::string::npos || dot == 0 ? name : name.substr(0, dot);
}

uint64_t pair_cells(const page_run & run) {
    uint64_t n = 0;
    for (const auto & p : run.pairs.count) {
        n += p.size();
    }
    return n;
}

}  // namespace

struct page_server::impl {
    explicit impl(server_options options) : o(std::move(options)), token(random_token()) {
        if (!o.model.empty()) {
            memory = read_memory(o.model);
        }
    }

    server_options                           o;
    std::string                              token;
    int                                      port = 0;
    page_memory                              memory;
    httplib::Server                          http;
    std::thread                              listening, reading;

    mutable std::shared_mutex                runs_mutex;
    std::vector<std::shared_ptr<served_run>> runs;

    std::mutex                               wake_mutex;
    std::condition_variable                  wake;
    bool                                     stopping = false;
    std::string                              problem;   // under wake_mutex
    std::atomic<bool>                        busy{false};   // still reading what is there

    std::vector<std::shared_ptr<served_run>> all_runs() const {
        const std::shared_lock lock(runs_mutex);
        return runs;
    }
    std::shared_ptr<served_run> run(std::optional<uint64_t> i) const {
        const std::shared_lock lock(runs_mutex);
        return i && *i < runs.size() ? runs[*i] : nullptr;
    }

    // ---- reading ----

    void read_all() {
        std::unique_lock lock(wake_mutex);
        while (!stopping) {
            lock.unlock();
            bool any = false;
            for (const auto & r : all_runs()) {
                any = read_some(*r) || any;
            }
            busy = any;
            if (o.model_from_trace) {
                look_for_model();
            }
            lock.lock();
            if (!any) {
                wake.wait_for(lock, look_again, [&] { return stopping; });
            }
        }
    }
    void look_for_model() {
        const auto first = run(0);
        const auto path  = first ? first->summary(false).model.file : std::string();
        if (path.empty()) {
            return;   // the trace does not say yet
        }
        o.model_from_trace = false;   // one try
        try {
            page_memory            found = read_memory(path);
            const std::unique_lock lock(runs_mutex);
            memory = std::move(found);
        } catch (const error &) {
            // Moved or removed since: the page does without the memory view.
        }
    }
    bool read_some(served_run & r) {
        try {
            return r.read_on(o.live, slice_ms);
        } catch (const std::exception & e) {
            const std::lock_guard lock(wake_mutex);
            problem = e.what();
            return false;
        }
    }

    // ---- answering ----

    bool host_is_ours(const httplib::Request & request) const {
        const std::string host = request.get_header_value("Host");
        for (const char * name : {"127.0.0.1", "localhost"}) {
            if (host == fmt::format("{}:{}", name, port)) {
                return true;
            }
        }
        return false;
    }

    // How far everything is: differs whenever a page would look different.
    uint64_t progress() const {
        uint64_t n = 0;
        for (const auto & r : all_runs()) {
            n += r->ubatches() + 1;
        }
        return n;
    }

    std::string data() const {
        page p;
        p.generator = std::string("moescope ") + version;
        p.served    = true;
        p.live      = o.live || busy;
        p.progress  = progress();
        {
            const std::shared_lock lock(runs_mutex);
            p.memory = memory;
        }
        uint32_t n  = 0;
        for (const auto & r : all_runs()) {
            page_run run = r->summary(true);
            run.number   = n++;
            if (run.blocks.empty()) {
                continue;   // nothing routed yet
            }
            const uint64_t keep  = o.live ? live_tokens : tile_tokens;
            const uint64_t first = o.live && run.tokens > keep ? run.tokens - keep : 0;
            run.tile = r->tile(first, keep, o.text);
            run.text = o.text;
            if (run.tile.blocks.size() != run.blocks.size()) {
                run.tile = {};   // a new kind of graph appeared in between; the next answer has it
            }
            if (pair_cells(run) > pairs_in_data) {
                run.pairs.count.assign(run.blocks.size(), {});
            }
            add_memory(p, run, *r);
            p.runs.push_back(std::move(run));
        }
        const std::string what = problem_text();
        if (!what.empty()) {
            p.notes.push_back(what);
        }
        return to_bytes(p, false);
    }
    void add_memory(page & p, const page_run & run, const served_run & r) const {
        if (p.memory.empty()) {
            return;
        }
        try {
            add_accesses(p.memory, run, r.access_lists());
        } catch (const error & e) {   // another model than this run's
            p.memory.accesses.emplace_back(p.memory.entries.size(), -1);
            p.notes.push_back(e.what());
        }
    }
    std::string problem_text() const {
        const std::lock_guard lock(const_cast<std::mutex &>(wake_mutex));
        return problem;
    }

    void answer(const httplib::Request & request, httplib::Response & response) {
        response.status = 404;
        if (request.path == "/metrics") {
            std::vector<page_run> summaries;
            for (const auto & r : all_runs()) {
                summaries.push_back(r->summary(false));
            }
            return send(response, prometheus_text(summaries), "text/plain; version=0.0.4");
        }
        const size_t slash = request.path.find('/', 1);
        if (slash == std::string::npos || !same_secret(request.path.substr(1, slash - 1), token)) {
            response.status = 403;
            return;
        }
        const std::string what = request.path.substr(slash + 1);
        if (what.empty()) {
            send(response, page_template(), "text/html; charset=utf-8");
            response.set_header("Content-Security-Policy", content_security_policy() + "; frame-ancestors 'none'");
        } else if (what == "data") {
            const auto since = number(request, "since");
            if (since && *since == progress()) {
                response.status = 204;
            } else {
                send(response, data(), "application/octet-stream");
            }
        } else if (what == "tokens") {
            answer_tokens(request, response);
        } else if (what == "pairs") {
            const auto r     = run(number(request, "run"));
            const auto block = number(request, "block");
            if (r && block) {
                send(response, pairs_to_bytes(r->pairs(static_cast<uint32_t>(std::min<uint64_t>(*block, UINT32_MAX)))), "application/octet-stream");
            }
        }
    }
    void answer_tokens(const httplib::Request & request, httplib::Response & response) {
        const auto r     = run(number(request, "run"));
        const auto first = number(request, "first"), count = number(request, "count");
        if (!r || !first || !count) {
            return;
        }
        const std::vector<page_block> blocks = r->blocks();
        const token_tile              tile   = r->tile(*first, std::min(*count, max_tile_tokens), o.text);
        if (tile.blocks.size() == blocks.size()) {
            send(response, to_bytes(tile, blocks, false), "application/octet-stream");
        }
    }
    static void send(httplib::Response & response, std::string body, const char * type) {
        response.status = 200;
        response.set_content(std::move(body), type);
    }

    void listen() {
        http.new_task_queue = [] { return new httplib::ThreadPool(n_answering); };
        http.set_read_timeout(seconds_to_wait);
        http.set_write_timeout(seconds_to_wait);
        http.set_keep_alive_timeout(seconds_to_wait);
        http.set_payload_max_length(1024);
        http.set_pre_routing_handler([this](const httplib::Request & request, httplib::Response & response) {
            response.set_header("X-Content-Type-Options", "nosniff");
            response.set_header("Referrer-Policy", "no-referrer");   // the address holds the token
            response.set_header("Cache-Control", "no-store");
            response.set_header("Cross-Origin-Resource-Policy", "same-origin");
            if (!host_is_ours(request)) {
                response.status = 403;
                return httplib::Server::HandlerResponse::Handled;
            }
            if (request.method != "GET" && request.method != "HEAD") {
                response.status = 405;
                return httplib::Server::HandlerResponse::Handled;
            }
            return httplib::Server::HandlerResponse::Unhandled;
        });
        http.Get(".*", [this](const httplib::Request & request, httplib::Response & response) { answer(request, response); });
        http.set_exception_handler([](const httplib::Request &, httplib::Response & response, std::exception_ptr) { response.status = 500; });
        port = o.port == 0 ? http.bind_to_any_port("127.0.0.1") : http.bind_to_port("127.0.0.1", o.port) ? o.port : -1;
        if (port <= 0) {
            throw error(fmt::format("port {} of 127.0.0.1 cannot be used", o.port)).fix("choose another one with --port, or 0 for any");
        }
        listening = std::thread([this] { http.listen_after_bind(); });
        reading   = std::thread([this] { read_all(); });
    }
};

page_server::page_server(server_options o) : impl_(std::make_unique<impl>(std::move(o))) {
    impl_->listen();
}

page_server::~page_server() {
    stop();
}

void page_server::add_trace(const std::string & path, const std::string & label) {
    auto run = std::make_shared<served_run>(path, label.empty() ? label_of(path) : label, impl_->o.max_pair_cells);
    const std::unique_lock lock(impl_->runs_mutex);
    impl_->runs.push_back(std::move(run));
}

int page_server::port() const {
    return impl_->port;
}

std::string page_server::url() const {
    return fmt::format("http://127.0.0.1:{}/{}/", impl_->port, impl_->token);
}

std::string page_server::problem() const {
    return impl_->problem_text();
}

void page_server::stop() {
    {
        const std::lock_guard lock(impl_->wake_mutex);
        impl_->stopping = true;
    }
    impl_->wake.notify_all();
    if (impl_->reading.joinable()) {
        impl_->reading.join();
    }
    impl_->http.stop();
    if (impl_->listening.joinable()) {
        impl_->listening.join();
    }
}

}  // namespace moescope::report
