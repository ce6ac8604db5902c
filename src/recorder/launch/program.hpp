#pragma once

#include <string>
#include <vector>

namespace moescope::recorder {

// A program as it will be started.
struct program {
    std::string path;    // of the executable file that the kernel will load (a script's interpreter, for a script)
    std::string script;  // the script, else empty
};

// Finds the program as execvp would, follows a script to its interpreter, and checks that the recorder can work in it.
// Throws error with one line that says what to do instead: not found, not executable, not for this machine, not
// dynamically linked, setuid or setgid, or with llama.cpp linked in.
program check_program(const std::string & name);

// libmoescope-record.so beside this executable (../lib, or the same folder), or what MOESCOPE_RECORDER names.
// Throws error when it is not there.
std::string find_recorder_library();

}  // namespace moescope::recorder
