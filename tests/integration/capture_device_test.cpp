// Devices other than the CPU compute while llama_decode has already returned: what they compute belongs to its own batch.
// An RPC server on this machine is such a device.

#include <gtest/gtest.h>

#include <ggml-backend.h>

#include "make-model/planted_model.hpp"
#include "support/model_runner.hpp"
#include "support/process.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;

void use_server(const std::string & endpoint) {
    using add_server = ggml_backend_reg_t (*)(const char *);
    const auto add   = reinterpret_cast<add_server>(
        ggml_backend_reg_get_proc_address(ggml_backend_reg_by_name("RPC"), "ggml_backend_rpc_add_server"));
    ggml_backend_register(add(endpoint.c_str()));
}

class capture_device : public testing::Test {
protected:
    capture_device()
        : truth_(make_model::planted_options{}),
          port_(std::to_string(20000 + (::getpid() + 13) % 20000)),
          server_({llama_program("ggml-rpc-server"), "-H", "127.0.0.1", "-p", port_, "-t", "1"}, folder_ / "rpc.out",
                  folder_ / "rpc.err") {
        make_model::write_planted_model(folder_ / "m.gguf", truth_);
        for (int i = 0; i < 100 && read_file(folder_ / "rpc.out").find("endpoint") == std::string::npos; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
        }
        use_server("127.0.0.1:" + port_);
    }

    // A batch that nobody waits for: no outputs, no synchronize.
    static void decode(llama_context * ctx, const std::vector<batch_token> & tokens) {
        llama_batch b = llama_batch_init(static_cast<int32_t>(tokens.size()), 0, 1);
        b.n_tokens    = static_cast<int32_t>(tokens.size());
        for (size_t i = 0; i < tokens.size(); ++i) {
            b.token[i] = tokens[i].token, b.pos[i] = tokens[i].pos, b.logits[i] = false;
            b.n_seq_id[i] = 1, b.seq_id[i][0] = tokens[i].seq;
        }
        const int status = llama_decode(ctx, b);
        llama_batch_free(b);
        ASSERT_EQ(status, 0);
    }

    scratch_folder            folder_;
    make_model::planted_truth truth_;
    std::string               port_;
    process                   server_;
};

TEST_F(capture_device, results_that_come_late_belong_to_their_batch) {
    constexpr int n_sequences = 4;
    const auto    streams     = capture_streams({}, [&](capture::session & session) {
        model_runner runner(folder_ / "m.gguf");
        runner.open();
        for (int seq = 0; seq < n_sequences;
             ++seq) {  // the same prompt in each: nothing but the batch tells them apart
            decode(runner.context(), {{60, 0, seq}, {61, 1, seq}});
        }
        for (int seq = 0; seq < n_sequences; ++seq) {
            decode(runner.context(), {{62, 2, seq}});
        }
        session.read_pending();
    });
    ASSERT_EQ(streams.size(), 1u);
    const recording & got = streams[0];
    ASSERT_EQ(got.ubatches.size(), size_t(2 * n_sequences));
    for (int i = 0; i < 2 * n_sequences; ++i) {
        const auto & rows = got.ubatches[size_t(i)];
        EXPECT_EQ(got.batch_of_ubatch[size_t(i)], uint32_t(i));
        ASSERT_FALSE(rows.empty());
        for (const row & r : rows) {
            EXPECT_EQ(r.seq, i % n_sequences);
            EXPECT_FALSE(r.decode);  // nobody asked for logits, so that nothing was generated
            EXPECT_EQ(std::vector<int>(r.ids.begin(), r.ids.end()),
                      truth_.ids(static_cast<uint32_t>(r.layer), r.token));
        }
    }
}

}  // namespace
