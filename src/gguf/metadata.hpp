#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gguf/header.hpp"

namespace moescope::gguf {

// The metadata of a GGUF file as ggml's own reader gives it, without the large arrays (vocabularies).
class model_metadata {
public:
    // header: of that file, without layout problems. Throws error where ggml's reader refuses the header or reads any
    // tensor's name, type, shape, offset or size differently: our reading is believed only where the two agree.
    model_metadata(const io::input_file & file, const file_header & header);

    // Empty where the key is missing or of another kind; for the lists a scalar counts as a list of one.
    std::optional<std::string> get_string(const std::string & key) const;
    std::optional<uint64_t>    get_uint(const std::string & key) const;
    std::optional<double>      get_float(const std::string & key) const;
    std::optional<bool>        get_bool(const std::string & key) const;
    std::vector<uint64_t>      get_uints(const std::string & key) const;
    std::vector<std::string>   get_strings(const std::string & key) const;

private:
    struct deleter {
        void operator()(gguf_context * ctx) const { gguf_free(ctx); }
    };
    std::unique_ptr<gguf_context, deleter> ctx_;
};

}  // namespace moescope::gguf
