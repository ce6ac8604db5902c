#include "report/page_bundle.hpp"

#include <algorithm>
#include <cmath>

#include "io/path.hpp"
#include "report/bundle.hpp"
#include "report/cache_bundle.hpp"
#include "report/damage.hpp"

namespace moescope::report {

namespace {

using nlohmann::json;

std::vector<float> as_float(const std::vector<double> & v) {
    return std::vector<float>(v.begin(), v.end());
}

// Optional columns: null where the run has none.
json column(bundle & b, const std::vector<double> & v) {
    return v.empty() ? json(nullptr) : b.add(as_float(v));
}

json counts(bundle & b, const std::vector<uint64_t> & v) {
    return v.empty() ? json(nullptr) : b.add_counts(v);
}

json finite(double v) {
    return std::isfinite(v) ? json(v) : json(nullptr);
}

// The fewest experts that hold a share of the selections; 0 where there are none.
uint32_t coverage(const page_block & b, size_t level) {
    const double n = b.balance.coverage[level];
    return std::isfinite(n) ? static_cast<uint32_t>(n) : 0;
}

json block_json(const page_block & b) {
    const block_layout & l = b.layout;
    return {
        {"layer", l.layer},
        {"block", l.block},
        {"n_expert", l.n_expert},
        {"n_expert_used", l.n_expert_used},
        {"mtp", l.has(block_layout::mtp)},
        {"given_ids", l.has(block_layout::given_ids)},
        {"norms_gated", l.has(block_layout::norms_gated)},
        {"captured", to_string(l.columns)},
        {"first_cell", b.first_cell},
        {"rows", b.rows},
        {"rows_decoded", b.rows_decoded},
        {"entropy", finite(b.balance.entropy)},
        {"gini", finite(b.balance.gini)},
        {"max_vio", finite(b.balance.max_vio)},
        {"dead", static_cast<uint32_t>(b.balance.dead)},
        {"coverage", {coverage(b, 0), coverage(b, 1), coverage(b, 2), coverage(b, 3)}},
    };
}

json blocks_json(const std::vector<page_block> & blocks) {
    json list = json::array();
    for (const page_block & b : blocks) {
        list.push_back(block_json(b));
    }
    return list;
}

// Weights as 16-bit fractions of the tile's largest one: the error is below 1/130000 of it.
json weights_json(bundle & b, const std::vector<float> & weights) {
    float most = 0, least = 0;
    for (float w : weights) {
        if (std::isfinite(w)) {
            most  = std::max(most, w);
            least = std::min(least, w);
        }
    }
    const float           step = most > least ? (most - least) / 65534.0f : 1.0f;
    std::vector<uint16_t> q(weights.size());
    for (size_t i = 0; i < q.size(); ++i) {
        q[i] = std::isfinite(weights[i]) ? static_cast<uint16_t>(std::lround((weights[i] - least) / step)) : 0xffff;
    }
    return {{"least", least}, {"step", step}, {"value", b.add(q)}};  // 65535: not a finite number
}

json ids_json(bundle & b, const std::vector<uint32_t> & ids, uint32_t n_expert) {
    if (n_expert <= 0x100) {
        return b.add(std::vector<uint8_t>(ids.begin(), ids.end()));
    }
    return n_expert <= 0x10000 ? b.add(std::vector<uint16_t>(ids.begin(), ids.end())) : b.add(ids);
}

json pieces_json(bundle & b, const token_tile & tile) {
    std::vector<int32_t>  token;
    std::vector<uint32_t> end;
    std::vector<uint8_t>  bytes;
    for (const auto & [id, text] : tile.pieces) {
        token.push_back(id);
        bytes.insert(bytes.end(), text.begin(), text.end());
        end.push_back(static_cast<uint32_t>(bytes.size()));
    }
    return {{"token", b.add(token)}, {"end", b.add(end)}, {"bytes", b.add(bytes)}};
}

graph_layout layouts_of(const std::vector<page_block> & blocks) {
    graph_layout all;
    for (const page_block & b : blocks) {
        all.push_back(b.layout);
    }
    return all;
}

json tile_json(bundle & b, const token_tile & tile, const graph_layout & blocks) {
    json rows = json::array();
    for (size_t i = 0; i < tile.blocks.size(); ++i) {
        const auto & r = tile.blocks[i];
        rows.push_back({
            {"present", r.present.empty() ? json(nullptr) : b.add(r.present)},
            {"ids", ids_json(b, r.ids, blocks[i].n_expert)},
            {"weights", r.weights.empty() ? json(nullptr) : weights_json(b, r.weights)},
        });
    }
    return {
        {"first", tile.first},          {"n", tile.size()},
        {"token", b.add(tile.token)},   {"pos", b.add(tile.pos)},
        {"seq", b.add(tile.seq)},       {"phase", b.add(tile.phase)},
        {"ubatch", b.add(tile.ubatch)}, {"time_s", b.add(tile.time_s)},
        {"rows", std::move(rows)},      {"pieces", pieces_json(b, tile)},
    };
}

json cells_json(bundle & b, const page_cells & c) {
    return {
        {"count", b.add_counts(c.count)},    {"count_decoded", counts(b, c.count_decoded)},
        {"accesses", counts(b, c.accesses)}, {"weight_mean", column(b, c.weight_mean)},
        {"ean", column(b, c.ean)},           {"reap", column(b, c.reap)},
    };
}

json pairs_json(bundle & b, const page_pairs & p) {
    json list = json::array();
    for (const auto & block : p.count) {
        list.push_back(counts(b, block));
    }
    return {{"complete", p.complete}, {"count", std::move(list)}};
}

json source_json(const trace::trace_info & s) {
    return {
        {"file", io::base_name(s.path)},
        {"format", s.format},
        {"program", s.program},
        {"writer_version", s.writer_version},
        {"stream", s.stream},
        {"started_unix_ms", s.started_unix_ns / 1'000'000},
        {"captured", s.captured},
        {"counts_only", s.counts_only},
        {"parts", s.n_parts},
        {"bytes", s.bytes},
        {"ended", s.ended},
        {"end_reason", s.end_reason},
        {"run_s", static_cast<double>(s.run_ns) * 1e-9},
        {"lost_bytes", s.lost_bytes},
        {"notes", s.notes},
    };
}

json model_json(const model_info & m) {
    return {
        {"architecture", m.architecture},   {"name", m.name},       {"file", io::base_name(m.file)},
        {"file_size", m.file_size},         {"n_layer", m.n_layer}, {"n_expert", m.n_expert},
        {"n_expert_used", m.n_expert_used}, {"n_embd", m.n_embd},   {"n_vocab", m.n_vocab},
    };
}

json domains_json(bundle & b, const std::vector<page_domain> & domains) {
    json list = json::array();
    for (const page_domain & d : domains) {
        list.push_back(
            {{"label", d.label}, {"sequences", d.sequences}, {"rows", d.rows}, {"count", b.add_counts(d.count)}});
    }
    return list;
}

json prompts_json(bundle & b, const page_prompts & p) {
    if (p.empty()) {
        return nullptr;
    }
    return {
        {"first", b.add_counts(p.first)},
        {"sequence", b.add(p.sequence)},
        {"prefilled", b.add_counts(p.prefilled)},
        {"decoded", b.add_counts(p.decoded)},
        {"labels", p.labels},
    };
}

json run_json(bundle & b, const page_run & r) {
    return {
        {"label", r.label},
        {"number", r.number},
        {"source", source_json(r.source)},
        {"model", model_json(r.model)},
        {"text", r.text},
        {"tokens", r.tokens},
        {"decoded", r.decoded},
        {"ubatches", r.ubatches},
        {"blocks", blocks_json(r.blocks)},
        {"cells", cells_json(b, r.cells)},
        {"pairs", pairs_json(b, r.pairs)},
        {"domains", domains_json(b, r.domains)},
        {"cache", cache_json(b, r.cache)},
        {"prompts", prompts_json(b, r.prompts)},
        {"tile", tile_json(b, r.tile, layouts_of(r.blocks))},
    };
}

template <class F>
auto entry_column(const page_memory & m, F && f) {
    std::vector<decltype(f(m.entries[0]))> v;
    v.reserve(m.entries.size());
    for (const auto & e : m.entries) {
        v.push_back(f(e));
    }
    return v;
}

json memory_json(bundle & b, const page_memory & m) {
    if (m.empty()) {
        return nullptr;
    }
    using entry = page_memory::entry;
    json files  = json::array();
    for (const auto & [name, size] : m.files) {
        files.push_back({{"name", name}, {"size", size}});
    }
    json first_ids = json::array();
    for (const auto & [layer, ids] : m.first_ids) {
        first_ids.push_back({{"layer", layer}, {"ids", ids}});
    }
    json accesses = json::array();
    for (const auto & run : m.accesses) {
        accesses.push_back(b.add(std::vector<double>(run.begin(), run.end())));
    }
    return {
        {"files", std::move(files)},
        {"tensors", m.tensors},
        {"types", m.types},
        {"components", m.components},
        {"tensor", b.add(entry_column(m, [](const entry & e) { return e.tensor; }))},
        {"expert", b.add(entry_column(m, [](const entry & e) { return e.expert; }))},
        {"part", b.add(entry_column(m, [](const entry & e) { return e.file; }))},
        {"offset", b.add(entry_column(m, [](const entry & e) { return static_cast<double>(e.offset); }))},
        {"size", b.add(entry_column(m, [](const entry & e) { return static_cast<double>(e.size); }))},
        {"layer", b.add(entry_column(m, [](const entry & e) { return e.layer; }))},
        {"component", b.add(entry_column(m, [](const entry & e) { return e.component; }))},
        {"accesses", std::move(accesses)},
        {"first_ids", std::move(first_ids)},
        {"bytes_per_token", m.bytes_per_token},
    };
}

}  // namespace

std::string to_bytes(const page & p, bool compress) {
    bundle b;
    json   runs = json::array();
    for (const page_run & r : p.runs) {
        runs.push_back(run_json(b, r));
    }
    json document = {
        {"version", 1},
        {"generator", p.generator},
        {"served", p.served},
        {"live", p.live},
        {"progress", p.progress},
        {"notes", p.notes},
        {"runs", std::move(runs)},
        {"memory", memory_json(b, p.memory)},
        {"damage", p.damage.empty() ? json() : damage_json(p.damage)},
    };
    return b.finish(std::move(document), compress);
}

std::string to_bytes(const token_tile & tile, const graph_layout & blocks, bool compress) {
    bundle b;
    json   document = tile_json(b, tile, blocks);
    return b.finish(std::move(document), compress);
}

std::string pairs_to_bytes(const std::vector<uint64_t> & triangle) {
    bundle b;
    json   document = {{"count", counts(b, triangle)}};
    return b.finish(std::move(document), false);
}

std::string prompts_to_bytes(const page_prompts & prompts) {
    bundle b;
    json   document = {{"prompts", prompts_json(b, prompts)}};
    return b.finish(std::move(document), false);
}

std::string cache_to_bytes(const page_cache & cache) {
    bundle b;
    json   document = {{"cache", cache_json(b, cache)}};
    return b.finish(std::move(document), false);
}

}  // namespace moescope::report
