#pragma once

#include <string>
#include <vector>

namespace moescope::recorder {

// A file with llama.cpp in it, as far as the recorder cares: what defines llama_decode or ggml's scheduler.
struct llama_part {
    std::string path;
    bool        has_llama = false;
    bool        has_ggml  = false;
    std::string ggml_version;  // of has_ggml; empty where the library does not say
};

// What the dynamic linker does when the program starts (it is asked; the program does not run).
struct linked_libraries {
    std::vector<llama_part>  parts;    // those with llama.cpp in them
    std::vector<std::string> missing;  // names of those that are not found: it cannot start
};
linked_libraries ask_linker(const std::string & program);

// What the program may load later: llama.cpp in a package folder (node_modules, site-packages) beside a script among
// `command` or beside the program itself. It is looked for by name, so it may miss some, and some may not be used.
std::vector<llama_part> parts_nearby(const std::vector<std::string> & command, const std::string & program);

// The programs that a script names and that have llama.cpp linked to them, as paths.
std::vector<std::string> programs_named_in(const std::string & script);

}  // namespace moescope::recorder
