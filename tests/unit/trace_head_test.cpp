#include "trace/head.hpp"

#include <chrono>
#include <filesystem>
#include <set>

#include <unistd.h>

#include <gtest/gtest.h>

#include "support/scratch_folder.hpp"
#include "trace/reader.hpp"
#include "trace/writer.hpp"

namespace moescope::trace {
namespace {

TEST(trace_head, names_this_process) {
    using namespace std::chrono;
    const auto       now  = [] { return uint64_t(nanoseconds(system_clock::now().time_since_epoch()).count()); };
    const uint64_t   from = now();
    const trace_head head = trace_head::of_this_process({column::ids, true}, 3);
    EXPECT_EQ(head.program, std::filesystem::read_symlink("/proc/self/exe").filename());
    EXPECT_EQ(head.pid, ::getpid());
    EXPECT_EQ(head.stream, 3u);
    EXPECT_EQ(to_string(head.captured), "ids,access");
    EXPECT_GE(head.started_unix_ns, from);
    EXPECT_LE(head.started_unix_ns, now());
}

TEST(trace_head, says_under_which_mask_it_was_written) {
    const test::scratch_folder folder;
    for (const std::string mask : {"", "omit 5:15"}) {
        const std::string path = folder / ("t" + mask + ".moetrace");
        trace_writer(path, trace_head::of_this_process({}, 1, mask), {}).finish({});
        trace_reader reader(path);
        EXPECT_EQ(reader.info().mask, mask);
        EXPECT_EQ(reader.info().notes.size(), mask.empty() ? 0u : 1u);
    }
}

TEST(trace_head, has_an_id_of_its_own_that_is_never_0) {
    std::set<uint64_t> ids;
    for (int i = 0; i < 1000; ++i) {
        ids.insert(trace_head::of_this_process({}).trace_id);
    }
    EXPECT_EQ(ids.size(), 1000u) << "two of 1000 random ids are alike once in 10^13 times";
    EXPECT_EQ(ids.count(0), 0u);
}

}  // namespace
}  // namespace moescope::trace
