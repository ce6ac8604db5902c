// Contexts that several threads create, use and free in a loop, all captured: no rows are lost, mixed up or torn. Meant
// for the tsan preset as much as for its own assertions.

#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <thread>

#include <malloc.h>

#include "make-model/planted_model.hpp"
#include "support/model_runner.hpp"
#include "support/process.hpp"

namespace {

using namespace moescope;
using namespace moescope::test;

TEST(capture_threads, contexts_come_and_go) {
    const scratch_folder            folder;
    const make_model::planted_truth truth(make_model::planted_options{});
    make_model::write_planted_model(folder / "m.gguf", truth);

    constexpr int                           n_threads = 3, n_contexts = 4, n_tokens = 12;
    std::mutex                              mutex;  // streams are opened by whichever thread computes first
    std::mutex                              loader;
    std::vector<std::unique_ptr<recording>> streams;
    {
        capture::session         session({}, [&](uint32_t) {
            const std::lock_guard lock(mutex);
            streams.push_back(std::make_unique<recording>());
            return std::make_unique<recording_sink>(*streams.back());
        });
        std::vector<std::thread> threads;
        for (int t = 0; t < n_threads; ++t) {
            threads.emplace_back([&, t] {
                std::unique_lock loading(loader);  // libllama is not instrumented: inside it, tsan sees no order
                model_runner     runner(folder / "m.gguf");
                loading.unlock();
                for (int c = 0; c < n_contexts; ++c) {
                    runner.open();
                    for (int i = 0; i < n_tokens; ++i) {
                        runner.decode({{20 + 60 * t + c + i, i}});
                    }
                    runner.close();
                }
            });
        }
        for (std::thread & t : threads) {
            t.join();
        }
        EXPECT_EQ(session.failure(), "");
    }
    ASSERT_EQ(streams.size(), size_t(n_threads * n_contexts));
    for (const auto & s : streams) {
        ASSERT_EQ(s->tokens_per_ubatch.size(), size_t(n_tokens));
        const int32_t first = s->rows()[0].token;
        for (const row & r : s->rows()) {
            EXPECT_EQ(r.token, first + r.pos);
            EXPECT_EQ(std::vector<int>(r.ids.begin(), r.ids.end()), truth.ids(static_cast<uint32_t>(r.layer), r.token));
        }
    }
}

// A pool's thread decodes in a context that another thread frees, then opens the next one: nothing may be asked of the
// context that is gone, although it was the last in which this thread decoded.
TEST(capture_threads, a_context_is_freed_by_another_thread) {
    ::mallopt(M_PERTURB, 0xa5);  // what is freed cannot be used by mistake
    const scratch_folder            folder;
    const make_model::planted_truth truth(make_model::planted_options{});
    make_model::write_planted_model(folder / "m.gguf", truth);
    const auto streams = capture_streams({}, [&](capture::session &) {
        model_runner runner(folder / "m.gguf");
        runner.open();
        std::promise<void> decoded, freed;
        std::thread        pool([&] {
            runner.decode({{20, 0}});
            decoded.set_value();
            freed.get_future().wait();
            runner.open();
            runner.decode({{21, 0}});
        });
        decoded.get_future().wait();
        runner.close();
        freed.set_value();
        pool.join();
    });
    ::mallopt(M_PERTURB, 0);
    ASSERT_EQ(streams.size(), 2u);
    EXPECT_EQ(streams[0].rows().at(0).token, 20);
    EXPECT_EQ(streams[1].rows().at(0).token, 21);
}

}  // namespace
