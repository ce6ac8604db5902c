#pragma once

#include <string>
#include <vector>

#include "io/existing_file.hpp"

namespace moescope::io {

// A folder that is there as a whole or not at all: files are written into one of a temporary name beside it, which takes
// the name of its own when all are there. Without commit() nothing is left behind, and what was there before stays.
class output_folder {
public:
    // replace: of the folder that is there, nothing stays. Throws error where the name is taken or the folder cannot be
    // made, usage_error where an input lies in the folder that would go.
    output_folder(std::string path, existing_file policy, const std::vector<std::string> & inputs = {});
    ~output_folder();
    output_folder(const output_folder &)             = delete;
    output_folder & operator=(const output_folder &) = delete;

    const std::string & name() const { return temporary_; }  // where to write, until commit()
    void                commit();

private:
    std::string path_, temporary_;
};

}  // namespace moescope::io
