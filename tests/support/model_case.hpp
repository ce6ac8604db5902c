#pragma once

// A made model as the parameter of a test: named in what fails, and in the test's own name.

#include "make-model/architecture.hpp"
#include "make-model/random_model.hpp"
#include "gtest/gtest.h"

#include <algorithm>
#include <cctype>
#include <ostream>
#include <string>
#include <vector>

namespace moescope::test {

struct model_case {
    std::string                name;
    make_model::random_options options;
    bool                       lora = false;  // with an adapter of its own
};

inline void PrintTo(const model_case & c, std::ostream * out) {
    *out << c.name;
}

inline std::string case_name(const testing::TestParamInfo<model_case> & info) {
    std::string name = info.param.name;
    std::replace_if(
        name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
    return name;
}

// One of each architecture that reads experts, of the size that make-model gives it.
inline std::vector<model_case> case_of_each_architecture() {
    std::vector<model_case> cases;
    for (const std::string & arch : make_model::moe_architectures()) {
        if (make_model::traits_of(arch).reads_experts) {
            model_case c;
            c.name               = arch;
            c.options.shape.arch = arch;
            cases.push_back(c);
        }
    }
    return cases;
}

inline bool is_variant(const model_case & c) {
    return c.name.rfind("variant-", 0) == 0;
}

}  // namespace moescope::test
