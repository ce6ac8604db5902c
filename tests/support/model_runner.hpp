#pragma once

// Runs batches through llama.cpp in the test's own process and keeps what a capture hands over.

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include <llama.h>

#include "capture/session.hpp"
#include "core/routing.hpp"

namespace moescope::test {

// One routed row, taken apart for comparison.
struct row {
    int32_t                              token = -1, pos = -1, seq = -1;  // -1 unknown
    bool                                 decode = false;
    int32_t                              layer = -1, block = 0;
    block_layout                         layout;
    std::vector<uint32_t>                ids;
    std::map<column, std::vector<float>> values;  // by column, [width]

    bool operator==(const row & o) const {  // bit for bit, NaN never equal
        return std::tie(token, pos, seq, decode, layer, block, ids, values) ==
                   std::tie(o.token, o.pos, o.seq, o.decode, o.layer, o.block, o.ids, o.values) &&
               layout == o.layout;
    }
};

inline std::vector<row> rows_of(const routed_ubatch & u) {
    std::vector<row> rows;
    for (const block_rows & b : u.blocks) {
        for (uint32_t r = 0; r < b.n_rows; ++r) {
            row           x;
            const int32_t t = b.token_of(r);
            if (t >= 0) {
                const auto i = static_cast<size_t>(t);
                x.token = u.token[i], x.pos = u.pos[i], x.seq = u.seq[i], x.decode = u.phases[i] == 1;
            }
            x.layout = *b.layout;
            x.layer  = b.layout->layer;
            x.block  = b.layout->block;
            for (uint32_t k = 0; k < b.layout->n_expert_used; ++k) {
                x.ids.push_back(b.id(size_t(r) * b.layout->n_expert_used + k));
            }
            for (const column c : float_columns) {
                if (const float * v = b.values_of(c)) {
                    const size_t w = b.layout->width(c);
                    x.values[c].assign(v + r * w, v + (r + 1) * w);
                }
            }
            rows.push_back(std::move(x));
        }
    }
    return rows;
}

// A sink that keeps everything.
struct recording {
    model_info                     model;
    std::map<int32_t, std::string> pieces;
    std::vector<std::vector<row>>  ubatches;
    std::vector<uint32_t>          tokens_per_ubatch, batch_of_ubatch;
    std::vector<access_list>       reads;
    std::vector<memory_event>      events;

    std::vector<row> rows() const {
        std::vector<row> all;
        for (const auto & u : ubatches) {
            all.insert(all.end(), u.begin(), u.end());
        }
        return all;
    }
};

class recording_sink : public routing_sink {
public:
    explicit recording_sink(recording & r) : to_(r) {}
    void     model(const model_info & m) override { to_.model = m; }
    void     piece(int32_t token, const std::string & text) override { to_.pieces[token] = text; }
    uint32_t access(const access_list & list) override {
        to_.reads.push_back(list);
        return static_cast<uint32_t>(to_.reads.size());
    }
    void ubatch(const routed_ubatch & u) override {
        to_.ubatches.push_back(rows_of(u));
        to_.tokens_per_ubatch.push_back(u.n_tokens());
        to_.batch_of_ubatch.push_back(u.batch);
    }
    void memory(const memory_event & e) override { to_.events.push_back(e); }

private:
    recording & to_;
};

// One token of a batch.
struct batch_token {
    llama_token token;
    llama_pos   pos;
    int32_t     seq    = 0;
    bool        output = true;
};

class model_runner {
public:
    explicit model_runner(const std::string & path) {
        llama_log_set(
            [](ggml_log_level level, const char * text, void *) {
                if (level == GGML_LOG_LEVEL_ERROR) {
                    std::fputs(text, stderr);
                }
            },
            nullptr);
        llama_model_params params = llama_model_default_params();
        model_.reset(llama_model_load_from_file(path.c_str(), params));
        if (!model_) {
            throw std::runtime_error("cannot load " + path);
        }
    }

    static llama_context_params default_params() {
        llama_context_params p = llama_context_default_params();
        p.n_ctx = 256, p.n_batch = 256, p.n_ubatch = 256, p.n_seq_max = 8, p.kv_unified = true;
        p.n_threads = p.n_threads_batch = 1;  // waiting threads spin; tests of threads ask for more
        return p;
    }

    void open(llama_context_params params = default_params()) {
        context_.reset();
        context_.reset(llama_init_from_model(model_.get(), params));
        if (!context_) {
            throw std::runtime_error("cannot create a context");
        }
    }
    void close() { context_.reset(); }

    // Decodes one batch; throws when llama.cpp refuses it.
    void decode(const std::vector<batch_token> & tokens) {
        llama_batch b = llama_batch_init(static_cast<int32_t>(tokens.size()), 0, 1);
        b.n_tokens    = static_cast<int32_t>(tokens.size());
        for (size_t i = 0; i < tokens.size(); ++i) {
            b.token[i] = tokens[i].token, b.pos[i] = tokens[i].pos, b.logits[i] = tokens[i].output;
            b.n_seq_id[i] = 1, b.seq_id[i][0] = tokens[i].seq;
        }
        const int status = llama_decode(context_.get(), b);
        llama_batch_free(b);
        if (status != 0) {
            throw std::runtime_error("llama_decode returned " + std::to_string(status));
        }
        llama_synchronize(context_.get());
    }

    llama_context * context() const { return context_.get(); }
    llama_model *   model() const { return model_.get(); }

private:
    struct free_model {
        void operator()(llama_model * m) const { llama_model_free(m); }
    };
    struct free_context {
        void operator()(llama_context * c) const { llama_free(c); }
    };
    std::unique_ptr<llama_model, free_model>     model_;
    std::unique_ptr<llama_context, free_context> context_;
};

// Captures what `work` computes in contexts it opens; one recording per stream.
template <class Work>
std::vector<recording> capture_streams(capture::capture_options options, Work work) {
    std::vector<std::unique_ptr<recording>> kept;
    std::string                             failure;
    {
        capture::session s(options, [&](uint32_t) {
            kept.push_back(std::make_unique<recording>());
            return std::make_unique<recording_sink>(*kept.back());
        });
        work(s);
        failure = s.failure();
    }
    if (!failure.empty()) {
        throw std::runtime_error("capture failed: " + failure);
    }
    std::vector<recording> all;
    for (auto & r : kept) {
        all.push_back(std::move(*r));
    }
    return all;
}

}  // namespace moescope::test
