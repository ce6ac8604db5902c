// What the viewer does without, so that it does not come along: models, and logs in other formats.

#include "analysis/tools/model_sizes.hpp"
#include "core/error.hpp"
#include "gguf/model_file.hpp"
#include "gguf/router_weights.hpp"
#include "logs/open.hpp"
#include "report/memory.hpp"
#include "report/profile_run.hpp"
#include "trace/reader.hpp"

namespace moescope {

namespace {

[[noreturn]] void refuse_model(const std::string & path) {
    throw error("the viewer reads no models").in(path).fix("'moescope report --model' shows them");
}

}  // namespace

namespace analysis {
uint64_t expert_sizes::of(const block_layout &) const {
    return 0;
}
expert_sizes read_expert_sizes(const std::string & model_path) {
    refuse_model(model_path);
}
}  // namespace analysis

namespace gguf {
model_metadata model_file::add_part(const std::string & path) {
    refuse_model(path);
}
model_file::model_file(const std::string & path) : metadata_(add_part(path)) {}
moe_shape read_moe_shape(const model_metadata &) {
    return {};
}
std::vector<router_weights> read_routers(const model_file &) {
    return {};
}
}  // namespace gguf

namespace io {
input_file::~input_file() = default;
}

namespace report {
page_memory read_memory(const std::string & model_path) {
    refuse_model(model_path);
}
page_run run_of_profile(const stats::moestats &, const std::string & path, uint64_t) {
    throw error("the viewer reads no profiles").in(path);
}
void add_accesses(page_memory &, const page_run &, const std::vector<access_list> &) {}
}  // namespace report

namespace logs {
std::unique_ptr<trace::trace_source> open_source(const std::string & path) {
    return std::make_unique<trace::trace_reader>(path);
}
}  // namespace logs

}  // namespace moescope

extern "C" void gguf_free(gguf_context *) {}
