#pragma once

#include <string>
#include <vector>

namespace moescope::recorder {

// The little of an ELF file that decides whether a library can be loaded into it. Throws error for what is no ELF file,
// or a damaged one.
class elf_file {
public:
    explicit elf_file(const std::string & path);

    bool        for_this_machine() const;
    std::string machine_name() const;                       // e.g. "aarch64"
    bool        is_dynamic() const;                         // has an interpreter (the dynamic linker)
    std::string interpreter() const;                        // its path; empty where there is none
    bool        defines(const std::string & symbol) const;  // as a function of its own; stripped symbols cannot be seen

private:
    template <class T>
    T at(uint64_t offset) const;

    std::string       path_;
    std::vector<char> bytes_;
};

}  // namespace moescope::recorder
