// Writes a trace of any size for benches: routing of a made-up run, sequence after sequence, each a prompt that is
// computed in ubatches and tokens that are decoded one by one. Which experts a token selects depends on the token before
// it and on chance, so that analyses find something; every number repeats.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "core/error.hpp"
#include "core/ubatch_buffer.hpp"
#include "trace/writer.hpp"

namespace {

using namespace moescope;

struct options {
    std::string path;
    std::string capture  = "ids";
    uint64_t    bytes    = 0;
    uint32_t    n_layer  = 24;
    uint32_t    n_expert = 128;
    uint32_t    k        = 8;
    uint32_t    n_embd   = 2048;
    uint32_t    n_vocab  = 32'000;
    uint32_t    n_prompt = 512;  // tokens of a sequence that are prefilled in one ubatch
    uint32_t    n_decode = 512;  // … and decoded
    uint32_t    differ   = 0;    // percent of rows that another run routes otherwise
    uint64_t    seed     = 1;
};

class random_numbers {  // xorshift64* (Vigna 2016)
public:
    explicit random_numbers(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u | 1) {}
    uint32_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return static_cast<uint32_t>((state_ * 0x2545f4914f6cdd1du) >> 32);
    }
    uint32_t below(uint32_t n) { return static_cast<uint32_t>((uint64_t{next()} * n) >> 32); }

private:
    uint64_t state_;
};

class run_maker {
public:
    explicit run_maker(const options & o) : o_(o), random_(o.seed), other_(o.seed + 1) {
        const column_set columns = parse_capture_list(o.capture).columns;
        for (uint32_t il = 0; il < o.n_layer; ++il) {
            block_layout b;
            b.layer         = static_cast<int32_t>(il);
            b.n_expert      = o.n_expert;
            b.n_expert_used = o.k;
            b.n_embd        = o.n_embd;
            b.columns       = columns;
            layout_.push_back(b);
        }
        fill_pools();
    }
    const graph_layout & layout() const { return layout_; }

    void write(trace::trace_writer & out) {
        for (int32_t sequence = 0; out.bytes() < o_.bytes; ++sequence) {
            ubatch(out, 0, o_.n_prompt, phase::prefill);
            for (uint32_t i = 0; i < o_.n_decode && out.bytes() < o_.bytes; ++i) {
                ubatch(out, o_.n_prompt + i, 1, phase::decode);
            }
        }
    }

private:
    static constexpr uint32_t n_pool        = 4096;  // different rows of a layer
    static constexpr uint32_t values_differ = 4096;  // places in values_ where a block's columns may begin

    // Rows of k distinct experts, the lower ones more often.
    void fill_pools() {
        for (uint32_t il = 0; il < o_.n_layer; ++il) {
            std::vector<uint32_t> rows;
            for (uint32_t r = 0; r < n_pool; ++r) {
                const size_t first = rows.size();
                while (rows.size() < first + o_.k) {
                    const uint32_t e = std::min(random_.below(o_.n_expert), random_.below(o_.n_expert));
                    if (std::find(rows.begin() + static_cast<long>(first), rows.end(), e) == rows.end()) {
                        rows.push_back(e);
                    }
                }
            }
            std::vector<uint8_t> stored;
            for (const uint32_t e : rows) {
                for (uint32_t b = 0; b < layout_[il].id_bytes(); ++b) {
                    stored.push_back(static_cast<uint8_t>(e >> (8 * b)));
                }
            }
            pools_.push_back(std::move(stored));
        }
        values_.resize(size_t{std::max(1u, o_.n_prompt)} * std::max({o_.k, o_.n_expert, o_.n_embd}) + values_differ);
        for (float & v : values_) {
            v = static_cast<float>(random_.next()) * 0x1p-32f;
        }
        current_.resize(o_.n_layer);
    }

    void ubatch(trace::trace_writer & out, uint32_t first_pos, uint32_t n, phase how) {
        u_.clear();
        u_.set_tokens(n);
        for (uint32_t i = 0; i < n; ++i) {
            u_.token[i] = static_cast<int32_t>(std::min(random_.below(o_.n_vocab), random_.below(o_.n_vocab)));
            u_.pos[i]   = static_cast<int32_t>(first_pos + i);
        }
        u_.seq.assign(n, 0);
        u_.phases.assign(n, static_cast<uint8_t>(how));
        u_.layout  = layout_;
        u_.time_ns = 20'000'000 * uint64_t{batch_};
        u_.batch   = batch_++;
        for (uint32_t il = 0; il < o_.n_layer; ++il) {
            add_block(il, n);
        }
        out.ubatch(u_.view());
    }

    void add_block(uint32_t il, uint32_t n) {
        const size_t row_bytes = size_t{o_.k} * layout_[il].id_bytes();
        u_.add_block(n, false);
        auto * ids = static_cast<uint8_t *>(u_.ids());
        for (uint32_t i = 0; i < n; ++i) {
            uint32_t & row = current_[il];
            row = random_.below(2) == 0 ? row : (random_.next() ^ static_cast<uint32_t>(u_.token[i])) % n_pool;
            const uint32_t taken = o_.differ > 0 && other_.below(100) < o_.differ ? other_.below(n_pool) : row;
            ids = std::copy_n(pools_[il].begin() + static_cast<long>(taken * row_bytes), row_bytes, ids);
        }
        for (size_t c = 0; c < n_float_columns; ++c) {
            if (float * to = u_.values(c)) {
                std::copy_n(values_.begin() + random_.below(values_differ), n * layout_[il].width(float_columns[c]),
                            to);
            }
        }
    }

    options                           o_;
    random_numbers                    random_, other_;
    graph_layout                      layout_;
    std::vector<std::vector<uint8_t>> pools_;    // [layer] n_pool rows of stored ids
    std::vector<uint32_t>             current_;  // [layer] the row of the token before
    std::vector<float>                values_;
    ubatch_buffer                     u_;
    uint32_t                          batch_ = 0;
};

void make(const options & o) {
    run_maker             run(o);
    trace::trace_head     head;
    trace::writer_options how;
    head.program  = "trace_maker";
    head.captured = parse_capture_list(o.capture);
    how.existing  = io::existing_file::replace;
    trace::trace_writer out(o.path, head, how);
    model_info          m;
    m.name          = "made";
    m.n_layer       = o.n_layer;
    m.n_expert      = o.n_expert;
    m.n_expert_used = o.k;
    m.n_embd        = o.n_embd;
    m.n_vocab       = o.n_vocab;
    out.model(m);
    run.write(out);
    out.finish({"finished", 1, 0});
}

}  // namespace

int main(int argc, char ** argv) {
    options  o;
    CLI::App app{"Writes a made-up trace of a given size."};
    app.add_option("-o,--output", o.path, "the trace")->required();
    app.add_option("--bytes", o.bytes, "its size")->required()->transform(CLI::AsSizeValue(false));
    app.add_option("--capture", o.capture, "columns: ids,weights,…")->capture_default_str();
    app.add_option("--layers", o.n_layer, "MoE layers")->capture_default_str();
    app.add_option("--experts", o.n_expert, "experts of each")->capture_default_str();
    app.add_option("--top-k", o.k, "experts that a token selects")->capture_default_str();
    app.add_option("--embd", o.n_embd, "width of the gate input")->capture_default_str();
    app.add_option("--prompt", o.n_prompt, "prefilled tokens of a sequence")->capture_default_str();
    app.add_option("--decode", o.n_decode, "decoded tokens of a sequence")->capture_default_str();
    app.add_option("--differ", o.differ, "percent of the rows that differ from a run without this")
        ->capture_default_str();
    app.add_option("--seed", o.seed, "of all that is random")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        make(o);
    } catch (const std::exception & e) {
        std::fprintf(stderr, "trace_maker: %s\n", e.what());
        return 1;
    }
    return 0;
}
