#pragma once

// Names of files, as text: nothing here looks at a disk.

#include <string>

namespace moescope::io {

std::string base_name(const std::string & path);  // "a/b.gguf" -> "b.gguf"
std::string folder_of(const std::string & path);  // "a/b.gguf" -> "a/", "b.gguf" -> "": it goes before a name beside it

// "run.json", ".json" -> "run". The name itself where it ends otherwise, or is nothing but the suffix.
std::string without_suffix(const std::string & name, const std::string & suffix);

// The number or word goes before the extension: "a/run.json", "3" -> "a/run.3.json"; "run", "3" -> "run.3".
std::string with_part(const std::string & path, const std::string & part);

}  // namespace moescope::io
