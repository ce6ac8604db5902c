#include "gguf/head.hpp"

#include <cerrno>
#include <cstring>
#include <memory>

#include <sys/stat.h>
#include <unistd.h>

#include "gguf.h"

#include "core/error.hpp"
#include "io/magic.hpp"

namespace moescope::gguf {

namespace {

struct gguf_closer {
    void operator()(gguf_context * g) const { gguf_free(g); }
};

void check_magic(const std::string & path) {
    struct stat s = {};
    if (::stat(path.c_str(), &s) == 0 && !S_ISREG(s.st_mode)) {
        throw error("not a file").in(path).fix("give -m a GGUF model");
    }
    if (::access(path.c_str(), R_OK) != 0) {
        throw error(std::string("cannot open the model: ") + std::strerror(errno)).in(path).fix("give -m a GGUF model");
    }
    if (!is_gguf(path)) {
        throw error("not a GGUF model").in(path).fix("give -m a GGUF model");
    }
}

std::string text_at(const gguf_context * g, const std::string & key) {
    const int64_t id = gguf_find_key(g, key.c_str());
    return id >= 0 && gguf_get_kv_type(g, id) == GGUF_TYPE_STRING ? gguf_get_val_str(g, id) : "";
}

// Some architectures keep a number per layer: the largest counts.
uint32_t number_at(const gguf_context * g, const std::string & key) {
    const int64_t id = gguf_find_key(g, key.c_str());
    if (id < 0) {
        return 0;
    }
    const gguf_type type = gguf_get_kv_type(g, id);
    if (type == GGUF_TYPE_UINT32) {
        return gguf_get_val_u32(g, id);
    }
    if (type == GGUF_TYPE_INT32) {
        return static_cast<uint32_t>(gguf_get_val_i32(g, id));
    }
    uint32_t largest = 0;
    if (type == GGUF_TYPE_ARRAY &&
        (gguf_get_arr_type(g, id) == GGUF_TYPE_UINT32 || gguf_get_arr_type(g, id) == GGUF_TYPE_INT32)) {
        const auto * values = static_cast<const uint32_t *>(gguf_get_arr_data(g, id));
        for (size_t i = 0; i < gguf_get_arr_n(g, id); ++i) {
            largest = values[i] > largest ? values[i] : largest;
        }
    }
    return largest;
}

}  // namespace

bool is_gguf(const std::string & path) {
    return io::begins_with(path, {GGUF_MAGIC, 4});
}

model_head read_head(const std::string & path) {
    check_magic(path);
    const std::unique_ptr<gguf_context, gguf_closer> g(gguf_init_from_file(path.c_str(), {true, nullptr}));
    if (!g) {
        throw error("the GGUF's head is cut or damaged").in(path).fix("download or convert the model again");
    }
    model_head head;
    head.architecture = text_at(g.get(), "general.architecture");
    head.name         = text_at(g.get(), "general.name");
    head.n_expert     = number_at(g.get(), head.architecture + ".expert_count");
    head.n_ctx_train  = number_at(g.get(), head.architecture + ".context_length");
    return head;
}

model_head require_moe(const std::string & path) {
    const model_head head = read_head(path);
    if (head.n_expert == 0) {
        throw error("no MoE layers: the model is dense (architecture " + head.architecture + ", no " +
                    head.architecture + ".expert_count)")
            .in(path)
            .fix("moescope needs a Mixture-of-Experts model");
    }
    return head;
}

}  // namespace moescope::gguf
