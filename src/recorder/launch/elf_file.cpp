#include "recorder/launch/elf_file.hpp"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>

#include <elf.h>

#include "core/error.hpp"

namespace moescope::recorder {

namespace {

constexpr uint16_t this_machine =
#if defined(__x86_64__)
    EM_X86_64;
#elif defined(__aarch64__)
    EM_AARCH64;
#else
    EM_NONE;
#endif

}  // namespace

elf_file::elf_file(const std::string & path) : path_(path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    if (bytes_.size() < sizeof(Elf64_Ehdr) || std::memcmp(bytes_.data(), ELFMAG, SELFMAG) != 0) {
        throw error("neither a program nor a script").in(path);
    }
}

template <class T>
T elf_file::at(uint64_t offset) const {
    if (offset > bytes_.size() || bytes_.size() - offset < sizeof(T)) {
        throw error("damaged program file").in(path_, static_cast<int64_t>(offset));
    }
    T v;
    std::memcpy(&v, bytes_.data() + offset, sizeof(v));
    return v;
}

bool elf_file::for_this_machine() const {
    return bytes_[EI_CLASS] == ELFCLASS64 && at<Elf64_Ehdr>(0).e_machine == this_machine;
}

std::string elf_file::machine_name() const {
    switch (at<Elf64_Ehdr>(0).e_machine) {
        case EM_X86_64: return "x86-64";
        case EM_AARCH64: return "aarch64";
        case EM_386: return "32-bit x86";
        case EM_ARM: return "32-bit ARM";
        case EM_RISCV: return "RISC-V";
        default: return "machine " + std::to_string(at<Elf64_Ehdr>(0).e_machine);
    }
}

bool elf_file::is_dynamic() const {
    return !interpreter().empty();
}

std::string elf_file::interpreter() const {
    const auto h = at<Elf64_Ehdr>(0);
    for (uint16_t i = 0; i < h.e_phnum; ++i) {
        const auto segment = at<Elf64_Phdr>(h.e_phoff + uint64_t(i) * h.e_phentsize);
        if (segment.p_type != PT_INTERP || segment.p_filesz == 0) {
            continue;
        }
        if (segment.p_offset >= bytes_.size() || segment.p_filesz > bytes_.size() - segment.p_offset) {
            throw error("damaged program file").in(path_, static_cast<int64_t>(segment.p_offset));
        }
        return std::string(bytes_.data() + segment.p_offset, segment.p_filesz - 1);
    }
    return {};
}

bool elf_file::defines(const std::string & symbol) const {
    const auto h = at<Elf64_Ehdr>(0);
    for (uint16_t i = 0; i < h.e_shnum; ++i) {
        const auto table = at<Elf64_Shdr>(h.e_shoff + uint64_t(i) * h.e_shentsize);
        if ((table.sh_type != SHT_SYMTAB && table.sh_type != SHT_DYNSYM) || table.sh_entsize == 0) {
            continue;
        }
        const auto names = at<Elf64_Shdr>(h.e_shoff + uint64_t(table.sh_link) * h.e_shentsize);
        for (uint64_t s = 0; s < table.sh_size / table.sh_entsize; ++s) {
            const auto     sym  = at<Elf64_Sym>(table.sh_offset + s * table.sh_entsize);
            const uint64_t name = names.sh_offset + sym.st_name;
            const bool     here = name + symbol.size() < bytes_.size() &&
                              std::memcmp(bytes_.data() + name, symbol.c_str(), symbol.size() + 1) == 0;
            if (here && sym.st_shndx != SHN_UNDEF && ELF64_ST_TYPE(sym.st_info) == STT_FUNC) {
                return true;
            }
        }
    }
    return false;
}

}  // namespace moescope::recorder
