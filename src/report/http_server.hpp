#pragma once

#include <atomic>
#include <chrono>

#include <httplib.h>

namespace moescope::report {

// httplib's server with room for those who wait: a connection takes one request, a thread of its own, and a limited time.
// Who sends his request byte by byte is cut off, sooner where many are connected, and holds up nobody meanwhile.
class http_server final : public httplib::Server {
public:
    http_server();

private:
    bool                      process_and_close_socket(socket_t socket) override;
    std::chrono::milliseconds time_to_ask() const;

    std::atomic<int> n_connected_{0};
};

}  // namespace moescope::report
