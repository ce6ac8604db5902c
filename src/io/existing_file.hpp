#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moescope::io {

// What happens to a file that is already there under an output's name.
enum class existing_file {
    refuse,
    replace,
    replace_own,  // replaced if it is of the output's own kind or empty, else refused
};

// How the files of a kind begin, and what one of them is called: "a trace".
struct file_kind {
    std::string_view magic;
    const char *     name = "";
};

// Whether both names lead to one regular file (device and inode), whatever links are on the way.
bool same_file(const std::string & a, const std::string & b);

// Whether two outputs would be written into one file, which need not exist yet. False for devices and pipes, and where one is
// empty.
bool same_output(const std::string & a, const std::string & b);

// Throws usage_error if the output is one of the inputs, or a folder that one of them lies in: writing it would destroy
// what is read.
void refuse_input(const std::string & output, const std::vector<std::string> & inputs);

// Throws error if something exists at `path` that an output of this kind may not replace.
void refuse_existing(const std::string & path, existing_file policy, const file_kind & own = {});

}  // namespace moescope::io
