#include "infer/runner_up.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "common.h"

#include "gguf/moe_shape.hpp"
#include "gguf/runner_up.hpp"

namespace moescope::infer {

std::string load_with_runner_up(common_params & params) {
    const gguf::model_file model(params.model.path);
    if (std::string why = gguf::runner_up_obstacle(model); !why.empty()) {
        return why;
    }
    const gguf::moe_shape   shape = gguf::read_moe_shape(model.metadata());
    llama_model_kv_override o     = {};
    std::snprintf(o.key, sizeof(o.key), "%s.expert_used_count", shape.arch.c_str());
    o.tag       = LLAMA_KV_OVERRIDE_TYPE_INT;
    o.val_i64   = static_cast<int64_t>(shape.n_expert_used_max()) + 1;
    auto & list = params.kv_overrides;
    if (std::any_of(list.begin(), list.end(), [&](const auto & other) { return std::strcmp(other.key, o.key) == 0; })) {
        return "--override-kv already says how many experts a token uses";
    }
    list.insert(list.begin(), o);
    if (list.back().key[0] != 0) {  // llama.cpp finds the end by an empty key
        list.emplace_back();
        list.back().key[0] = 0;
    }
    return "";
}

}  // namespace moescope::infer
