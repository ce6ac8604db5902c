#include "infer/tensor_list.hpp"

#include "ggml.h"

namespace moescope::infer {

bool tensor_list::callback(ggml_tensor * t, bool ask, void * self) {
    if (ask) {
        static_cast<tensor_list *>(self)->nodes_.push_back(
            {t->name, ggml_op_desc(t), ggml_type_name(t->type), {t->ne[0], t->ne[1], t->ne[2], t->ne[3]}});
        return false;
    }
    return true;
}

}  // namespace moescope::infer
