#include "cli/terminal/result_file.hpp"

#include <cerrno>
#include <cstring>

#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "core/error.hpp"
#include "gguf/model_file.hpp"
#include "io/output_file.hpp"
#include "io/path.hpp"
#include "trace/format.hpp"

namespace moescope::cli {

void add_output_options(CLI::App & verb, output_options & o, const std::string & what) {
    verb.add_option("-o,--output", o.path, what)->type_name("FILE");
    verb.add_flag("--force", o.force, "replace an existing file");
}

std::vector<std::string> files_of(const std::vector<std::string> & inputs) {
    std::vector<std::string> files;
    for (const std::string & input : inputs) {
        for (std::string & part : gguf::paths_by_name(input)) {
            files.push_back(std::move(part));
        }
        for (uint32_t part = 2; ::access(trace::part_path(input, part).c_str(), F_OK) == 0; ++part) {
            files.push_back(trace::part_path(input, part));
        }
    }
    return files;
}

io::existing_file policy_of(bool force) {
    return force ? io::existing_file::replace : io::existing_file::refuse;
}

void check_output(const output_options & o) {
    if (o.path != "-") {
        io::output_file::check(o.path, policy_of(o.force), files_of(o.inputs));
    }
}

void write_output(const output_options & o, const std::function<void(std::FILE *)> & write) {
    if (o.path == "-") {
        write(stdout);
        if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
            throw error(std::string("cannot write: ") + std::strerror(errno)).in("stdout");
        }
        return;
    }
    io::output_file file(o.path, policy_of(o.force), files_of(o.inputs));
    write(file.stream());
    file.commit();
}

void write_text(const output_options & o, const std::string & text) {
    write_output(o, [&](std::FILE * out) { std::fwrite(text.data(), 1, text.size(), out); });
}

void require_writable(const std::string & path, bool force, const std::vector<std::string> & inputs) {
    struct stat s     = {};
    const bool  there = ::stat(path.c_str(), &s) == 0;
    if (there && S_ISDIR(s.st_mode)) {
        throw error("this is a folder").in(path).fix("give -o a file name");
    }
    io::refuse_input(path, files_of(inputs));
    io::refuse_existing(path, policy_of(force));
    const std::string folder = io::folder_of(path).empty() ? "." : io::folder_of(path);
    if (::access(there ? path.c_str() : folder.c_str(), W_OK) != 0) {
        throw error(std::string("cannot write there: ") + std::strerror(errno))
            .in(path)
            .fix("choose another place with -o");
    }
}

}  // namespace moescope::cli
