// Masks where the routers' weights lie on a device that is not the CPU: an RPC server on this machine. In a process of its
// own, since the device stays registered when the server is gone.

#include <gtest/gtest.h>

#include <ggml-backend.h>

#include "make-model/variants.hpp"
#include "support/masked_run.hpp"
#include "support/process.hpp"

using namespace moescope;
using namespace moescope::test;

namespace {

void use_server(const std::string & endpoint) {
    using add_server = ggml_backend_reg_t (*)(const char *);
    const auto add   = reinterpret_cast<add_server>(
        ggml_backend_reg_get_proc_address(ggml_backend_reg_by_name("RPC"), "ggml_backend_rpc_add_server"));
    ggml_backend_register(add(endpoint.c_str()));
}

// Whether nothing of the model is left on the CPU is llama.cpp's business; that something is elsewhere is seen here.
TEST(MaskDevice, ComputesWhatThePrunedFileComputes) {
    const scratch_folder folder;
    const std::string    port = std::to_string(20000 + (::getpid() + 17) % 20000);
    const process        server({llama_program("ggml-rpc-server"), "-H", "127.0.0.1", "-p", port, "-t", "1"},
                                folder / "rpc.out", folder / "rpc.err");
    for (int i = 0; i < 100 && read_file(folder / "rpc.out").find("endpoint") == std::string::npos; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    use_server("127.0.0.1:" + port);
    for (const char * name : {"groups-bailingmoe2", "hash-deepseek4", "grovemoe-pairs", "mixtral", "gpt-oss-biases"}) {
        random_options o = find_variant(name).options;
        o.shape.n_expert = 16;
        const auto shape = complete(o.shape);
        const auto whole = folder / "whole.gguf", pruned = folder / "pruned.gguf";
        write_random_model(whole, o);
        const kept_by_layer kept = write_pruned_half(whole, pruned);
        const expert_mask   mask = mask_for(kept, shape.n_expert);
        batch_shape         s;
        s.on_device = true;
        EXPECT_GT(rows_with_omitted(run_masked(whole, shape.arch, {}, s).rec, mask), 0U) << name;
        std::string wrong;
        try {
            compare_runs(run_masked(whole, shape.arch, mask, s), run_masked(pruned, shape.arch, {}, s), kept, {});
        } catch (const std::exception & e) {
            wrong = e.what();
        }
        EXPECT_EQ(wrong, "") << name;
    }
}

}  // namespace
