#include "make-model/layout.hpp"

#include <cstdlib>

namespace moescope::make_model {

int tensor_spec::n_dims() const {
    int n = 4;
    while (n > 1 && ne[n - 1] == 1) {
        n--;
    }
    return n;
}

bool tensor_spec::is(const std::string & suffix) const {
    return name.size() >= suffix.size() && name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
}

int tensor_spec::layer() const {
    return name.compare(0, 4, "blk.") == 0 ? std::atoi(name.c_str() + 4) : -1;
}

bool is_expert_matrix(const tensor_spec & tensor) {
    return tensor.is("_exps.weight") || tensor.is("_chexps.weight");
}

}  // namespace moescope::make_model
