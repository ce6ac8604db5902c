// libFuzzer target: any bytes sent to the page's server, over a socket of 127.0.0.1. TOKEN and PORT in them become the server's own,
// which nobody else can know. The server answers or hangs up, never with an exception inside, and gives nothing but the metrics to
// who does not know its token.

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>

#include <cerrno>
#include <fstream>
#include <iterator>

#include "common.hpp"
#include "report/server.hpp"
#include "support/planted_trace.hpp"
#include "support/scratch_folder.hpp"
#include "trace/writer.hpp"

using namespace moescope;
using fuzz::promised;

namespace {

// A small trace by formula, with prompts, generated tokens and a second block.
std::string trace_bytes() {
    test::scratch_folder folder;
    const std::string    path = folder / "served.moetrace";
    test::planted::plan  plan;
    plan.second_block         = true;
    const graph_layout layout = test::planted::layout_of(plan);
    {
        trace::trace_writer out(path, {}, {});
        test::planted::feed(plan, test::planted::make_ubatches(plan, layout), out);
        out.finish({"finished", 1, 0, 0});
    }
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

// One server for all inputs.
class served {
public:
    served() : trace_(trace_bytes()), server_({}) {
        server_.add_trace(trace_.path(), "planted");
        const std::string url = server_.url(), host = "http://127.0.0.1:";
        const size_t      slash = url.find('/', host.size());
        port_                   = url.substr(host.size(), slash - host.size());
        token_                  = url.substr(slash + 1, url.size() - slash - 2);
    }

    const std::string & token() const { return token_; }

    std::string with_secrets(std::string bytes) const {
        const std::pair<const char *, const std::string *> secrets[] = {{"TOKEN", &token_}, {"PORT", &port_}};
        for (const auto & [name, value] : secrets) {
            for (size_t at = 0; (at = bytes.find(name, at)) != std::string::npos; at += value->size()) {
                bytes.replace(at, std::strlen(name), *value);
            }
        }
        return bytes;
    }

    // What comes back until the server hangs up, which it does after one answer.
    std::string answer_to(const std::string & request) const {
        const int socket = connected();
        ::send(socket, request.data(), request.size(), MSG_NOSIGNAL);
        ::shutdown(socket, SHUT_WR);
        std::string answer;
        char        buffer[1 << 16];
        for (ssize_t n; (n = ::recv(socket, buffer, sizeof(buffer), 0)) != 0;) {
            if (n > 0) {
                answer.append(buffer, static_cast<size_t>(n));
            } else if (errno != EINTR) {  // libFuzzer's clock
                promised(errno == ECONNRESET, "the server answers or hangs up");
                break;
            }
        }
        ::close(socket);
        return answer;
    }

private:
    // From another address of the loopback network each time: a port that was used rests for a minute, and 127.0.0.1 has no
    // more than some thousands.
    int connected() const {
        static uint32_t   n_connections = 0;
        const int         socket        = ::socket(AF_INET, SOCK_STREAM, 0);
        const timeval     patient       = {120, 0};
        const int         yes           = 1;
        const sockaddr_in from          = address(INADDR_LOOPBACK + 1 + n_connections++ % 4'000'000, 0);
        const sockaddr_in to            = address(INADDR_LOOPBACK, static_cast<uint16_t>(std::stoi(port_)));
        ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patient, sizeof(patient));
        ::setsockopt(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes));
        sigset_t before, clock;
        ::sigemptyset(&clock);
        ::sigaddset(&clock, SIGALRM);  // libFuzzer's, which would interrupt
        ::pthread_sigmask(SIG_BLOCK, &clock, &before);
        promised(::bind(socket, reinterpret_cast<const sockaddr *>(&from), sizeof(from)) == 0 &&
                     ::connect(socket, reinterpret_cast<const sockaddr *>(&to), sizeof(to)) == 0,
                 "the server accepts connections");
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        return socket;
    }

    static sockaddr_in address(uint32_t ip, uint16_t port) {
        sockaddr_in a = {};
        a.sin_family  = AF_INET;
        a.sin_port    = htons(port);
        a.sin_addr    = {htonl(ip)};
        return a;
    }

    fuzz::memory_file   trace_;
    report::page_server server_;
    std::string         port_, token_;
};

bool has(const std::string & text, const std::string & part) {
    return text.find(part) != std::string::npos;
}

std::string header(const std::string & head, const std::string & name) {
    const size_t at = head.find("\r\n" + name + ": ");
    return at == std::string::npos
               ? ""
               : head.substr(at + name.size() + 4, head.find("\r\n", at + 2) - at - name.size() - 4);
}

void check_answer(const std::string & request, const std::string & answer, const std::string & token) {
    if (answer.empty() || answer.rfind("HTTP/1.1 100 ", 0) == 0) {
        return;  // no whole request; asked whether to go on
    }
    const size_t end = answer.find("\r\n\r\n");
    promised(answer.rfind("HTTP/1.1 ", 0) == 0 && end != std::string::npos, "an answer is HTTP");
    const std::string head = answer.substr(0, end + 2), body = answer.substr(end + 4);
    const int         status = std::atoi(head.c_str() + 9);
    promised(status < 500, "no exception escapes from an answer");
    if (status >= 300) {
        promised(!has(body, token), "a refusal does not give the token away");
        return;
    }
    promised(header(head, "X-Content-Type-Options") == "nosniff", "what is given is marked");
    promised(has(request, token) || header(head, "Content-Type") == "text/plain; version=0.0.4",
             "nothing but the metrics without the token");
    if (request.rfind("GET ", 0) == 0 && status == 200) {
        promised(header(head, "Content-Length") == std::to_string(body.size()), "an answer is as long as it says");
        promised(header(head, "Content-Type") != "application/octet-stream" || body.rfind("MOEPAGE0", 0) == 0,
                 "data is a bundle");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    static const served server;
    static unsigned     n       = 0;
    const std::string   request = server.with_secrets(fuzz::text_of(data, size));
    check_answer(request, server.answer_to(request), server.token());
    if (n++ % 64 == 0) {
        const std::string metrics =
            server.answer_to(server.with_secrets("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n"));
        promised(metrics.rfind("HTTP/1.1 200 ", 0) == 0, "the server still answers");
    }
    return 0;
}
