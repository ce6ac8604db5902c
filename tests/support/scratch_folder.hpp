#pragma once

// A folder of the test's own, removed with everything in it.

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace moescope::test {

class scratch_folder {
public:
    // Tests that write ten thousands of small files want them in memory; where there is none for files, on disk.
    enum place { on_disk, in_memory };

    explicit scratch_folder(place where = on_disk) {
        if (where == on_disk || !made_in("/dev/shm")) {
            if (!made_in(std::filesystem::temp_directory_path().string())) {
                throw std::runtime_error("cannot create a folder for the test");
            }
        }
    }
    ~scratch_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    scratch_folder(const scratch_folder &)             = delete;
    scratch_folder & operator=(const scratch_folder &) = delete;

    const std::string & path() const { return path_; }
    std::string         operator/(const std::string & name) const { return path_ + "/" + name; }

private:
    bool made_in(const std::string & parent) {
        path_ = parent + "/moescope-test.XXXXXX";
        return ::mkdtemp(path_.data()) != nullptr;
    }

    std::string path_;
};

}  // namespace moescope::test
