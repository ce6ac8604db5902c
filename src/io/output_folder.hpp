#pragma once

#include <string>
#include <vector>

#include "io/existing_file.hpp"

namespace moescope::io {

// A folder that appears as a whole or not at all: files are written into a temporary folder beside it, which commit()
// renames. Without commit() nothing is left behind, and what was there before stays.
class output_folder {
public:
    // replace: nothing of a folder that exists stays. Throws error if the name is taken or the folder cannot be made,
    // usage_error if an input lies in the folder that would be replaced.
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
