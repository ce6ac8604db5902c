#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "evaluate/group_pass.hpp"
#include "io/output_folder.hpp"

namespace moescope::evaluate {

// Writes the logits that an evaluation compares, for whoever wants to check its numbers: a folder with
//
//     full.f32, changed.f32   [rows][n_vocab] little-endian float32
//     rows.i32                [rows][3] little-endian int32: sample (from 0 in its file), position, the token that follows
//     shape.json              {"rows": …, "n_vocab": …}
//
// The folder appears as a whole when finish() was called, or not at all.
class logit_dump {
public:
    // Throws error where the folder is there already or cannot be made.
    logit_dump(const std::string & folder, size_t n_vocab);
    ~logit_dump();

    void add(uint32_t sample, const compared_row & row);
    void finish();  // throws error when it could not be written

private:
    struct closer {
        void operator()(std::FILE * f) const { std::fclose(f); }
    };
    using file = std::unique_ptr<std::FILE, closer>;

    file open(const char * name) const;
    void write(const file & f, const void * data, size_t size) const;

    std::string       path_;
    io::output_folder folder_;
    size_t            n_vocab_;
    uint64_t          n_rows_ = 0;
    file              full_, changed_, rows_;
};

}  // namespace moescope::evaluate
