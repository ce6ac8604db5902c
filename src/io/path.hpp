#pragma once

// Names of files, as text: nothing here looks at a disk.

#include <string>

namespace moescope::io {

std::string base_name(const std::string & path);  // "a/b.gguf" -> "b.gguf"
std::string folder_of(
    const std::string & path);  // "a/b.gguf" -> "a/", "b.gguf" -> "": what to put before a name beside it

bool        has_suffix(const std::string & name, const std::string & suffix);  // and something before it
std::string without_suffix(const std::string & name,
                           const std::string & suffix);  // the name itself where it has another

// The number or word goes before the extension: "a/run.json", "3" -> "a/run.3.json"; "run", "3" -> "run.3".
std::string with_part(const std::string & path, const std::string & part);

}  // namespace moescope::io
