#include "io/existing_file.hpp"

#include <algorithm>
#include <filesystem>

#include <sys/stat.h>
#include <unistd.h>

#include "core/error.hpp"
#include "io/magic.hpp"

namespace moescope::io {

namespace {

// The real folder of what may not exist itself; empty where it cannot be told.
std::filesystem::path real_path(const std::string & path) {
    std::error_code unknown;
    return std::filesystem::weakly_canonical(path, unknown);
}

// What a chain of links leads to, also where nothing is there yet.
std::filesystem::path behind_links(std::filesystem::path path) {
    std::error_code none;
    for (int i = 0; i < 40 && std::filesystem::is_symlink(path, none); ++i) {  // as many as Linux follows
        path = path.parent_path() / std::filesystem::read_symlink(path, none);
    }
    return path;
}

bool lies_in(const std::string & file, const std::string & folder) {
    const std::filesystem::path f = real_path(file), d = real_path(folder);
    return !d.empty() && std::mismatch(d.begin(), d.end(), f.begin(), f.end()).first == d.end();
}

}  // namespace

bool same_file(const std::string & a, const std::string & b) {
    struct stat x = {}, y = {};
    return ::stat(a.c_str(), &x) == 0 && ::stat(b.c_str(), &y) == 0 && S_ISREG(x.st_mode) && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

bool same_output(const std::string & a, const std::string & b) {
    struct stat there = {};
    if (a.empty() || b.empty() || (::stat(a.c_str(), &there) == 0 && !S_ISREG(there.st_mode))) {
        return false;
    }
    return same_file(a, b) || real_path(behind_links(a)) == real_path(behind_links(b));
}

void refuse_input(const std::string & output, const std::vector<std::string> & inputs) {
    std::error_code unknown;
    const bool      folder = std::filesystem::is_directory(output, unknown);
    for (const std::string & input : inputs) {
        if (same_file(output, input) || (folder && lies_in(input, output))) {
            throw usage_error("the output is also an input").in(output).fix("choose another name");
        }
    }
}

void refuse_existing(const std::string & path, existing_file policy, const file_kind & own) {
    struct stat there = {};
    if (::stat(path.c_str(), &there) != 0) {
        return;
    }
    if (policy == existing_file::refuse) {
        throw error("the file exists").in(path).fix("choose another name or give --force");
    }
    const bool others = S_ISREG(there.st_mode) && there.st_size > 0 && !begins_with(path, own.magic);
    if (policy == existing_file::replace_own && others) {
        throw error(std::string("this is not ") + own.name + ", so it is not replaced")
            .in(path)
            .fix("choose another name");
    }
}

}  // namespace moescope::io
