// What each step read: memory-map.json of the model, and traces/token-NNNNN.json for every llama_decode call in order.
// docs/export.md has the fields.

#include <cstdio>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "formats/format.hpp"
#include "gguf/map_format.hpp"
#include "gguf/memory_map.hpp"

namespace moescope::formats {

namespace {

using json = nlohmann::ordered_json;

void write_text(const std::string & path, const std::string & text) {
    std::ofstream out(path, std::ios::binary);
    out << text;
    if (!out.flush()) {
        throw error("cannot write").in(path);
    }
}

class access_json_exporter final : public exporter {
public:
    access_json_exporter(const std::string & folder, const export_options & options)
        : folder_(folder),
          model_(options.model) {}

    void begin(trace::trace_source & source) override {
        source_ = &source;
        if (source.access_lists().empty()) {
            throw error("no accesses were captured").in(source.info().path).fix("record with --capture access");
        }
        std::filesystem::create_directory(folder_ + "/traces");
        write_map(model_.empty() ? source.model().file : model_, !model_.empty());
    }

    void ubatch(const routed_ubatch & u) override {
        if (!step_.is_null() && u.batch != batch_) {
            write_step();
        }
        if (step_.is_null()) {
            batch_ = u.batch;
            step_  = {{"step", steps_},
                      {"batch", u.batch},
                      {"phase", phase_of(u)},
                      {"n_tokens", 0},
                      {"entries", json::array()}};
        }
        step_["n_tokens"] = step_["n_tokens"].get<uint64_t>() + u.n_tokens();
        if (u.access == 0) {
            without_access_ += 1;
            return;
        }
        for (const access_entry & e : source_->access_lists()[u.access - 1]) {
            step_["entries"].push_back(entry(e, u));
        }
    }

    std::vector<std::string> end() override {
        if (!step_.is_null()) {
            write_step();
        }
        if (without_access_ > 0) {
            notes_.push_back(std::to_string(without_access_) +
                             " ubatches have no access list, so their entries are empty");
        }
        return notes_;
    }

private:
    void write_map(const std::string & path, bool asked_for) {
        std::error_code ec;
        if (!asked_for && (path.empty() || !std::filesystem::exists(path, ec))) {
            notes_.push_back("memory-map.json was not written: the model" + (path.empty() ? "" : " " + path) +
                             " was not found; name it with --model");
            return;
        }
        const gguf::model_file model(path);
        write_text(folder_ + "/memory-map.json", gguf::map_to_json(gguf::build_memory_map(model), model));
    }

    static const char * phase_of(const routed_ubatch & u) {
        for (const uint8_t p : u.phases) {
            if (p != static_cast<uint8_t>(phase::decode)) {
                return "prefill";
            }
        }
        return "decode";
    }

    static json entry(const access_entry & e, const routed_ubatch & u) {
        json sources = json::array();
        for (const std::string & name : e.sources) {
            sources.push_back({{"name", name}});
        }
        json one = {
            {"operation_type", e.op}, {"dst_name", e.dst}, {"layer_id", e.layer}, {"sources", std::move(sources)}};
        if (e.block < 0 || static_cast<size_t>(e.block) >= u.blocks.size()) {
            return one;
        }
        const block_rows & b   = u.blocks[static_cast<size_t>(e.block)];
        const size_t       k   = b.layout->n_expert_used;
        json               ids = json::array();
        for (uint32_t r = 0; r < b.n_rows; ++r) {
            json row = json::array();
            for (size_t i = 0; i < k; ++i) {
                row.push_back(b.id(r * k + i));
            }
            ids.push_back(std::move(row));
        }
        one["expert_ids"]  = std::move(ids);
        one["num_experts"] = k;
        return one;
    }

    void write_step() {
        char name[40];
        std::snprintf(name, sizeof(name), "/traces/token-%05llu.json", static_cast<unsigned long long>(steps_));
        write_text(folder_ + name, step_.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
        step_ = nullptr;
        steps_ += 1;
    }

    std::string              folder_, model_;
    trace::trace_source *    source_ = nullptr;
    json                     step_;  // null between steps
    uint32_t                 batch_          = 0;
    uint64_t                 steps_          = 0;
    uint64_t                 without_access_ = 0;
    std::vector<std::string> notes_;
};

}  // namespace

std::unique_ptr<exporter> make_access_json(const std::string & folder, const export_options & options) {
    return std::make_unique<access_json_exporter>(folder, options);
}

}  // namespace moescope::formats
