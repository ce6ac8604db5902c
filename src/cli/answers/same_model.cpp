#include "cli/answers/same_model.hpp"

#include <filesystem>

#include <fmt/format.h>

#include "cli/answers/shared.hpp"
#include "cli/terminal/text.hpp"
#include "core/error.hpp"

namespace moescope::cli {

namespace {

bool same_file(const std::string & a, const std::string & b) {
    std::error_code unreadable;  // who opens it says so
    return a == b || std::filesystem::equivalent(a, b, unreadable);
}

std::string why_blocks_differ(const graph_layout & a, const graph_layout & b) {
    for (const block_layout & y : b) {
        for (const block_layout & x : a) {
            if (x.id() == y.id() && (x.n_expert != y.n_expert || x.n_expert_used != y.n_expert_used)) {
                return fmt::format("layer {} has {} experts, top-{}, not {}, top-{}", block_name(x), y.n_expert,
                                   y.n_expert_used, x.n_expert, x.n_expert_used);
            }
        }
    }
    return "";
}

}  // namespace

std::string why_unrelated(const model_info & a, const model_info & b) {
    const auto differ = [](const auto & x, const auto & y) {
        return x != decltype(x){} && y != decltype(y){} && x != y;
    };
    if (differ(a.architecture, b.architecture)) {
        return fmt::format("architectures {} and {}", printable(a.architecture), printable(b.architecture));
    }
    if (differ(a.n_layer, b.n_layer)) {
        return fmt::format("{} and {} layers", a.n_layer, b.n_layer);
    }
    if (differ(a.n_embd, b.n_embd)) {
        return fmt::format("widths {} and {}", a.n_embd, b.n_embd);
    }
    return "";
}

std::string named_model_file(const trace::trace_source & source) {
    const model_info & m = source.model();
    std::error_code    unknown;
    const bool there = !m.file.empty() && std::filesystem::file_size(m.file, unknown) == m.file_size && !unknown;
    return there ? m.file : "";
}

void one_model::add(const std::string & path, const model_info & model, const graph_layout & blocks) {
    for (const std::string & before : paths_) {
        if (same_file(before, path)) {
            throw usage_error("'" + path + "' is given twice: everything in it would count twice");
        }
    }
    std::string why = why_unrelated(model_, model);
    why             = why.empty() ? why_blocks_differ(blocks_, blocks) : why;
    if (!why.empty()) {
        throw error("comes from another model than " + paths_.front() + " (" + why + ")")
            .in(path)
            .fix("analyze them separately, or use 'moescope analyze compare'");
    }
    paths_.push_back(path);
    model_  = model_.architecture.empty() ? model : model_;
    blocks_ = blocks_.empty() ? blocks : blocks_;
}

void require_fit(const trace::trace_source & source, const analysis::expert_sizes & model,
                 const std::string & model_path) {
    const bool foreign = source.info().format != trace::trace_info{}.format;
    for (const block_layout & l : source.blocks()) {
        if (l.block != 0) {
            continue;  // a layer's further blocks share its experts
        }
        const analysis::expert_sizes::block * of = model.find(l);
        if (of == nullptr || l.n_expert > of->n_expert || (l.n_expert < of->n_expert && !foreign)) {
            throw error(of == nullptr ? fmt::format("has no experts in layer {}, the trace has {}", l.layer, l.n_expert)
                                      : fmt::format("has {} experts in layer {}, the trace has {}", of->n_expert,
                                                    l.layer, l.n_expert))
                .in(model_path)
                .fix("give the model that the trace was recorded with");
        }
    }
}

}  // namespace moescope::cli
