#include "report/server.hpp"

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include <sys/random.h>

#include <fmt/format.h>

#include "core/error.hpp"
#include "core/version.hpp"
#include "report/html.hpp"
#include "report/http_server.hpp"
#include "report/metrics.hpp"
#include "report/page_bundle.hpp"
#include "report/served_page.hpp"

namespace moescope::report {

namespace {

constexpr uint64_t max_tile_tokens = 16384;  // in one answer

std::string random_token() {
    unsigned char bytes[16];
    if (::getrandom(bytes, sizeof(bytes), 0) != static_cast<ssize_t>(sizeof(bytes))) {
        throw error("the system gives no random numbers for the page's address");
    }
    std::string out;
    for (const unsigned char b : bytes) {
        out += fmt::format("{:02x}", b);
    }
    return out;
}

bool same_secret(const std::string & a, const std::string & b) {  // in a time that does not depend on where they differ
    unsigned char different = a.size() != b.size();
    for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
        different |= static_cast<unsigned char>(a[i] ^ b[i]);
    }
    return different == 0;
}

std::optional<uint64_t> query_number(const httplib::Request & request, const char * name) {
    const std::string text = request.get_param_value(name);
    if (text.empty() || text.size() > 15 || text.find_first_not_of("0123456789") != std::string::npos) {
        return std::nullopt;
    }
    return std::stoull(text);
}

}  // namespace

struct page_server::impl {
    explicit impl(server_options options) : o(std::move(options)), token(random_token()), served(o) {}

    server_options    o;
    std::string       token;
    int               port = 0;
    served_page       served;
    http_server       http;
    std::thread       listening;
    std::atomic<bool> listened{false};

    bool host_is_ours(const httplib::Request & request) const {
        const std::string host = request.get_header_value("Host");
        for (const char * name : {"127.0.0.1", "localhost"}) {
            if (host == fmt::format("{}:{}", name, port)) {
                return true;
            }
        }
        return false;
    }

    void answer(const httplib::Request & request, httplib::Response & response) {
        response.status = 404;
        if (request.path == "/metrics") {
            return send(response, prometheus_text(served.summaries()), "text/plain; version=0.0.4");
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
            const auto since = query_number(request, "since");
            if (since && *since == served.progress()) {
                response.status = 204;
            } else {
                send(response, to_bytes(served.now(), false), "application/octet-stream");
            }
        } else if (what == "tokens") {
            answer_tokens(request, response);
        } else if (what == "pairs") {
            const auto r     = served.run(query_number(request, "run"));
            const auto block = query_number(request, "block");
            if (r && block) {
                send(response, pairs_to_bytes(r->pairs(static_cast<uint32_t>(std::min<uint64_t>(*block, UINT32_MAX)))),
                     "application/octet-stream");
            }
        } else if (what == "prompts") {
            if (const auto r = served.run(query_number(request, "run"))) {
                send(response, prompts_to_bytes(r->prompts()), "application/octet-stream");
            }
        } else if (what == "caches") {
            answer_caches(request, response);
        }
    }
    void answer_caches(const httplib::Request & request, httplib::Response & response) {
        const auto r      = served.run(query_number(request, "run"));
        const auto tokens = query_number(request, "tokens");
        if (!r || !tokens) {
            return;
        }
        const page_cache caches = r->caches(std::min(*tokens, r->tokens()), served.model_of_caches());
        response.status         = 204;  // being simulated
        if (!caches.empty()) {
            send(response, cache_to_bytes(caches), "application/octet-stream");
        }
    }
    void answer_tokens(const httplib::Request & request, httplib::Response & response) {
        const auto r     = served.run(query_number(request, "run"));
        const auto first = query_number(request, "first"), count = query_number(request, "count");
        if (!r || !first || !count) {
            return;
        }
        const graph_layout blocks = r->blocks();
        const token_tile   tile   = r->tile(*first, std::min(*count, max_tile_tokens), o.text);
        if (tile.blocks.size() == blocks.size()) {
            send(response, to_bytes(tile, blocks, false), "application/octet-stream");
        }
    }
    static void send(httplib::Response & response, std::string body, const char * type) {
        response.status = 200;
        response.set_content(std::move(body), type);
    }

    void listen() {
        http.set_payload_max_length(1024);
        http.set_pre_routing_handler([this](const httplib::Request & request, httplib::Response & response) {
            response.set_header("X-Content-Type-Options", "nosniff");
            response.set_header("Referrer-Policy", "no-referrer");  // the address holds the token
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
        http.Get(".*",
                 [this](const httplib::Request & request, httplib::Response & response) { answer(request, response); });
        http.set_exception_handler(
            [](const httplib::Request &, httplib::Response & response, std::exception_ptr) { response.status = 500; });
        port = o.port == 0 ? http.bind_to_any_port("127.0.0.1") : http.bind_to_port("127.0.0.1", o.port) ? o.port : -1;
        if (port <= 0) {
            throw error(fmt::format("port {} of 127.0.0.1 cannot be used", o.port))
                .fix("choose another one with --port, or 0 for any");
        }
        listening = std::thread([this] {
            http.listen_after_bind();
            listened = true;
        });
        while (!http.is_running() && !listened) {  // a stop() before that would be forgotten, and the thread never end
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        served.start();
    }
};

page_server::page_server(server_options o) : impl_(std::make_unique<impl>(std::move(o))) {
    impl_->listen();
}

page_server::~page_server() {
    stop();
}

void page_server::add_trace(const std::string & path, const std::string & label) {
    impl_->served.add(path, label);
}

std::string page_server::url() const {
    return fmt::format("http://127.0.0.1:{}/{}/", impl_->port, impl_->token);
}

std::string page_server::problem() const {
    return impl_->served.problem();
}

void page_server::stop() {
    impl_->served.stop();
    impl_->http.stop();
    if (impl_->listening.joinable()) {
        impl_->listening.join();
    }
}

}  // namespace moescope::report
