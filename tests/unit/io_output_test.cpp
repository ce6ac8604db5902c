// Outputs that are there as a whole or not at all, and what they never overwrite.

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/error.hpp"
#include "io/byte_sink.hpp"
#include "io/output_file.hpp"
#include "io/output_folder.hpp"
#include "support/gguf_builder.hpp"

namespace moescope::io {
namespace {

using test::scratch_folder;
namespace fs = std::filesystem;

std::string read(const std::string & path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::string write(const std::string & path, const std::string & bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
}

size_t n_files(const scratch_folder & dir) {
    return static_cast<size_t>(std::distance(fs::directory_iterator(fs::path(dir / "")), {}));
}

// What it throws: "usage: …" or "error: …"; empty when it does not.
std::string refusal(const std::function<void()> & work) {
    try {
        work();
    } catch (const usage_error & e) {
        return "usage: " + e.reason();
    } catch (const error & e) {
        return "error: " + e.reason();
    }
    return "";
}

void replace(const std::string & path, const std::string & bytes, const std::vector<std::string> & inputs = {}) {
    output_file out(path, existing_file::replace, inputs);
    out.write_at(0, bytes.data(), bytes.size());
    out.commit();
}

constexpr char input_refused[] = "usage: the output is also an input";

TEST(output_file, appears_only_when_complete) {
    const scratch_folder dir;
    {
        output_file out(dir / "a");
        out.write_at(0, "abc", 3);
        EXPECT_FALSE(fs::exists(dir / "a"));
    }
    EXPECT_EQ(n_files(dir), 0u);
    output_file out(dir / "a");
    out.reserve(6);
    out.write_at(2, "abc", 3);
    out.commit();
    EXPECT_EQ(read(dir / "a"), std::string("\0\0abc\0", 6));
    EXPECT_EQ(n_files(dir), 1u);
    EXPECT_THROW(output_file(dir / "no/such/folder/a"), error);
}

TEST(output_file, leaves_what_was_there_until_it_is_complete) {
    const scratch_folder dir;
    write(dir / "a", "before");
    {
        output_file out(dir / "a");
        std::fputs("half", out.stream());
    }
    EXPECT_EQ(read(dir / "a"), "before");
    output_file out(dir / "a");
    std::fputs("whole", out.stream());
    EXPECT_EQ(read(dir / "a"), "before");
    out.commit();
    EXPECT_EQ(read(dir / "a"), "whole");
    EXPECT_EQ(n_files(dir), 1u);
}

TEST(output_file, says_that_a_name_is_taken) {
    const scratch_folder dir;
    write(dir / "a", "before");
    EXPECT_EQ(refusal([&] { output_file(dir / "a", existing_file::refuse); }), "error: the file exists");
    EXPECT_EQ(refusal([&] { output_file::check(dir / "a", existing_file::refuse); }), "error: the file exists");
    EXPECT_EQ(refusal([&] { output_file::check(dir / "b", existing_file::refuse); }), "");
    EXPECT_EQ(refusal([&] { output_file(dir / "", existing_file::replace); }), "error: this is a folder");
}

TEST(output_file, has_the_permissions_of_any_new_file) {
    const scratch_folder dir;
    replace(dir / "ours", "x");
    write(dir / "other", "x");
    EXPECT_EQ(fs::status(dir / "ours").permissions(), fs::status(dir / "other").permissions());
}

TEST(output_file, is_never_one_of_the_inputs_whatever_it_is_called) {
    const scratch_folder dir;
    const std::string    input = write(dir / "input", "precious");
    fs::create_hard_link(input, dir / "hard");
    fs::create_symlink("input", dir / "soft");
    write(dir / "other", "precious");  // the same bytes are another file
    for (const char * name : {"input", "./input", "hard", "soft"}) {
        EXPECT_EQ(refusal([&] { replace(dir / name, "x", {dir / "other", input}); }), input_refused) << name;
        EXPECT_EQ(refusal([&] { output_file::check(dir / name, existing_file::refuse, {input}); }), input_refused);
    }
    EXPECT_EQ(read(input), "precious");
    EXPECT_EQ(n_files(dir), 4u);
    EXPECT_EQ(refusal([&] { replace(dir / "other", "x", {input, dir / "missing"}); }), "");
    EXPECT_EQ(read(dir / "other"), "x");
}

TEST(output_file, replaces_what_a_link_leads_to) {
    const scratch_folder dir;
    fs::create_directory(dir / "far");
    write(dir / "far/a", "before");
    fs::create_symlink("far/a", dir / "link");
    fs::create_symlink("nowhere", dir / "dangling");
    replace(dir / "link", "after");
    EXPECT_TRUE(fs::is_symlink(dir / "link"));
    EXPECT_EQ(read(dir / "far/a"), "after");
    replace(dir / "dangling", "new");
    EXPECT_EQ(read(dir / "dangling"), "new");
}

TEST(output_file, a_disk_that_is_too_small_is_noticed_first) {
    const scratch_folder dir;
    output_file          out(dir / "a");
    EXPECT_THROW(out.reserve(uint64_t(1) << 60), error);
}

TEST(output_file, leaves_a_device_the_device_that_it_is) {
    const scratch_folder dir;
    const std::string    null = dir / "null";
    if (::mknod(null.c_str(), S_IFCHR | 0666, makedev(1, 3)) != 0) {
        GTEST_SKIP() << "only root makes devices";
    }
    if (const int fd = ::open(null.c_str(), O_WRONLY); fd < 0) {
        GTEST_SKIP() << "devices do not work here";
    } else {
        ::close(fd);
    }
    replace(null, "gone");
    EXPECT_TRUE(fs::is_character_file(null));
    output_file out(null, existing_file::refuse);  // nothing is lost, so nothing need be forced
    std::fputs("gone, too", out.stream());
    out.commit();
    EXPECT_TRUE(fs::is_character_file(null));
    EXPECT_EQ(n_files(dir), 1u);
}

TEST(output_file, goes_into_a_pipe_from_front_to_back) {
    const scratch_folder dir;
    const std::string    pipe = dir / "pipe";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    const input_file source(write(dir / "source", "0123456789"));
    std::string      heard;
    std::thread      reader([&] { heard = read(pipe); });
    {
        output_file out(pipe, existing_file::refuse);
        out.reserve(5000);
        out.write_at(0, "head", 4);
        out.copy_from(source, 2, 4500, 5);
        EXPECT_NE(refusal([&] { out.write_at(4504, "x", 1); }), "") << "a pipe does not go back";
        out.commit();
    }
    reader.join();
    EXPECT_TRUE(heard == "head" + std::string(4496, '\0') + "23456" + std::string(495, '\0'));
    EXPECT_TRUE(fs::is_fifo(pipe));
    EXPECT_EQ(n_files(dir), 2u);
}

// Within a file system the kernel copies; from memory to disk it may refuse, and then the bytes go through a buffer.
TEST(output_file, copies_between_file_systems_as_within_one) {
    const scratch_folder dir;
    std::string          bytes(9'000'001, '\0');  // more than one buffer, and no multiple of anything
    uint32_t             state = 1;
    for (char & c : bytes) {
        state = state * 1664525u + 1013904223u;  // Numerical Recipes' generator: no two places look alike
        c     = static_cast<char>(state >> 24);
    }
    const std::string shared = "/dev/shm/moescope-output-test-" + std::to_string(::getpid());
    for (const std::string & source : {dir / "source", shared}) {
        if (source == shared && !fs::exists("/dev/shm")) {
            continue;
        }
        const input_file in(write(source, bytes));
        output_file      out(dir / "copy");
        uint64_t         heard = 0;
        out.copy_from(in, 5, 3, 8'999'990, [&](uint64_t n) { heard += n; });
        out.commit();
        EXPECT_EQ(heard, 8'999'990u);
        EXPECT_TRUE(read(dir / "copy") == std::string(3, '\0') + bytes.substr(5, 8'999'990));
        EXPECT_THROW(output_file(dir / "b").copy_from(in, 9'000'000, 0, 2), error);  // past the end
    }
    fs::remove(shared);
}

TEST(output_folder, is_there_as_a_whole_or_not_at_all) {
    const scratch_folder dir;
    {
        output_folder out(dir / "a", existing_file::refuse);
        write(out.name() + "/x", "1");
        EXPECT_FALSE(fs::exists(dir / "a"));
    }
    EXPECT_EQ(n_files(dir), 0u);
    output_folder first(dir / "a//", existing_file::refuse);
    write(first.name() + "/x", "1");
    first.commit();
    EXPECT_EQ(read(dir / "a/x"), "1");
    EXPECT_EQ(refusal([&] { output_folder(dir / "a", existing_file::refuse); }), "error: the folder exists");
    output_folder second(dir / "a", existing_file::replace);
    write(second.name() + "/y", "2");
    EXPECT_EQ(read(dir / "a/x"), "1");
    second.commit();
    EXPECT_FALSE(fs::exists(dir / "a/x"));
    EXPECT_EQ(read(dir / "a/y"), "2");
    EXPECT_EQ(n_files(dir), 1u);
}

TEST(output_folder, never_takes_an_input_away) {
    const scratch_folder dir;
    fs::create_directories(dir / "a/b");
    const std::string input = write(dir / "a/b/input", "precious");
    fs::create_symlink("a", dir / "link");
    for (const char * name : {"a", "a/b/", "link", "a/b/../b"}) {
        EXPECT_EQ(refusal([&] { output_folder(dir / name, existing_file::replace, {input}); }), input_refused) << name;
    }
    EXPECT_EQ(refusal([&] { output_folder(dir / "a/c", existing_file::replace, {input}); }), "") << "beside it";
    EXPECT_EQ(refusal([&] { output_folder(dir / "a/b", existing_file::replace, {dir / "x"}); }), "");
    EXPECT_EQ(refusal([&] { output_folder(input, existing_file::replace); }), "error: this is not a folder");
    EXPECT_EQ(read(input), "precious");
}

TEST(open_file_sink, replaces_only_files_of_its_own_kind_where_that_is_asked) {
    const scratch_folder dir;
    const file_kind      notes = {"NOTE", "a note"};
    const auto           open  = [&](const std::string & path) {
        return refusal([&] { open_file_sink(path, existing_file::replace_own, notes)->write("NOTE new", 8); });
    };
    write(dir / "ours", "NOTE old");
    write(dir / "empty", "");
    write(dir / "model", "GGUF precious");
    write(dir / "short", "NOT");
    fs::create_symlink("model", dir / "link");
    EXPECT_EQ(open(dir / "ours"), "");
    EXPECT_EQ(open(dir / "empty"), "");
    EXPECT_EQ(open(dir / "new"), "");
    for (const char * name : {"model", "short", "link"}) {
        EXPECT_EQ(open(dir / name), "error: this is not a note, so it is not replaced") << name;
    }
    EXPECT_EQ(read(dir / "ours"), "NOTE new");
    EXPECT_EQ(read(dir / "model"), "GGUF precious");
    EXPECT_EQ(read(dir / "short"), "NOT");
}

}  // namespace
}  // namespace moescope::io
