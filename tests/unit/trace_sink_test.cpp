// Files that traces are written to: what happens to them under a host that knows nothing of them.

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include "core/error.hpp"
#include "io/byte_sink.hpp"
#include "support/trace_kit.hpp"

namespace moescope::trace {
namespace {

using namespace test;

TEST(trace_sink, a_descriptor_that_the_host_closed_is_not_written_to) {
    const scratch_folder folder{scratch_folder::in_memory};
    const std::string    path  = folder / "t.moetrace";
    const std::string    other = folder / "other";
    const int            next  = ::open("/dev/null", O_RDONLY);
    ::close(next);
    {
        const auto sink = io::open_file_sink(path, io::existing_file::refuse);  // takes the same number
        sink->write("abc", 3);
        ASSERT_EQ(::close(next), 0);
        ASSERT_EQ(::open(other.c_str(), O_CREAT | O_RDWR, 0600), next);
        EXPECT_THROW(sink->write("def", 3), error);
    }
    EXPECT_EQ(::close(next), 0) << "the sink closed the host's file";
    EXPECT_EQ(slurp(other), "");
    EXPECT_EQ(slurp(path), "abc");
}

TEST(trace_sink, replacing_leaves_the_file_before_to_who_uses_it) {
    const scratch_folder folder{scratch_folder::in_memory};
    const std::string    path   = folder / "t.moetrace";
    const auto           before = io::open_file_sink(path, io::existing_file::refuse);
    before->write("before", 6);
    const int  reader = ::open(path.c_str(), O_RDONLY);
    const auto after  = io::open_file_sink(path, io::existing_file::replace);
    after->write("after", 5);
    before->write("!", 1);  // another process that still runs
    char       bytes[16];
    const auto n = ::read(reader, bytes, sizeof(bytes));
    ::close(reader);
    EXPECT_EQ(slurp(path), "after");
    EXPECT_EQ(std::string(bytes, static_cast<size_t>(n)), "before!");
}

}  // namespace
}  // namespace moescope::trace
