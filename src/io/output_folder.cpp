#include "io/output_folder.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/error.hpp"
#include "io/temporary.hpp"

namespace moescope::io {

namespace fs = std::filesystem;

output_folder::output_folder(std::string path, existing_file policy, const std::vector<std::string> & inputs)
    : path_(std::move(path)) {
    while (path_.size() > 1 && path_.back() == '/') {
        path_.pop_back();
    }
    refuse_input(path_, inputs);
    std::error_code unknown;
    if (fs::exists(path_, unknown)) {
        if (!fs::is_directory(path_, unknown)) {
            throw error("this is not a folder").in(path_).fix("choose another name");
        }
        if (policy == existing_file::refuse) {
            throw error("the folder exists").in(path_).fix("choose another name or give --force");
        }
    }
    std::string name = path_ + ".XXXXXX";
    if (!make_temporary_folder(name)) {
        throw error(std::string("cannot create: ") + std::strerror(errno))
            .in(path_)
            .fix("choose another place with -o");
    }
    temporary_ = name;
}

output_folder::~output_folder() {
    std::error_code unknown;
    if (!temporary_.empty()) {
        fs::remove_all(temporary_, unknown);
    }
}

void output_folder::commit() {
    std::error_code failed;
    fs::remove_all(path_, failed);
    fs::rename(temporary_, path_, failed);
    if (failed) {
        throw error("cannot rename into place: " + failed.message()).in(path_);
    }
    temporary_.clear();
}

}  // namespace moescope::io
