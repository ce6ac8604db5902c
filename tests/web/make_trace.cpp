// Makes traces (and a model's file) for the tests of the page, from a formula, and says what they hold:
//
//   make_trace --out t.moetrace --truth t.json [--layers 24 --experts 32 --used 4 --prompt 400 --decode 200 --text FILE …]
//
// Every token's experts follow from its class of character, its layer and a seed, so that the picture has structure;
// the truth is written from the same ids before they go through the trace.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "support/gguf_builder.hpp"
#include "trace/writer.hpp"

using namespace moescope;
using nlohmann::json;

namespace {

struct options {
    std::string out, truth, text_file, gpt_oss;
    std::vector<std::string>
                labels;  // of the prompts, as `run --label-key` notes them: one each, of equally many ubatches
    std::string name    = "planted";
    uint32_t    n_layer = 24, n_expert = 32, n_used = 4, n_prompt = 400, n_decode = 200, n_ubatch = 64, n_seq = 1;
    uint32_t    n_dead = 0;  // experts at the end that no token selects
    uint64_t    seed   = 1;
    bool        norms = false, counts_only = false, access = false, flat = false;
    uint32_t    delay_ms = 0;  // between ubatches: a trace that grows
};

uint64_t mix(uint64_t x) {  // splitmix64
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}
double unit(uint64_t x) {
    return static_cast<double>(mix(x) >> 11) * 0x1p-53;
}

struct row {
    std::vector<uint32_t> ids;
    std::vector<float>    weights, norms;
};

// The texts of the tokens: words with their leading space, line ends, digits and punctuation one by one.
std::vector<std::string> split(const std::string & text) {
    std::vector<std::string> pieces;
    for (size_t i = 0; i < text.size();) {
        size_t     j      = i + 1;
        const auto letter = [&](size_t at) {
            return at < text.size() && (std::isalpha(static_cast<uint8_t>(text[at])) || (text[at] & 0x80));
        };
        if (letter(i) || (text[i] == ' ' && letter(i + 1))) {
            while (letter(j)) {
                ++j;
            }
        }
        pieces.push_back(text.substr(i, j - i));
        i = j;
    }
    return pieces;
}

int class_of(const std::string & piece) {
    const char c = piece.size() > 1 && piece[0] == ' ' ? piece[1] : piece.empty() ? ' ' : piece[0];
    if (std::isdigit(static_cast<uint8_t>(c)))
        return 0;
    if (std::isupper(static_cast<uint8_t>(c)))
        return 1;
    if (std::isalpha(static_cast<uint8_t>(c)))
        return piece.size() <= 4 ? 2 : 3;
    if (std::isspace(static_cast<uint8_t>(c)))
        return 4;
    return 5;
}

row route(const options & o, uint32_t layer, int cls, uint64_t token, uint64_t position) {
    const uint32_t      n_live = o.n_expert - o.n_dead;
    std::vector<double> score(n_live);
    for (uint32_t e = 0; e < n_live; ++e) {
        const double liking =
            o.flat ? 0 : 3.2 * std::pow(unit(o.seed * 7919 + layer * 613 + e * 31 + uint64_t(cls) * 101), 3);
        const double general = o.flat ? 0 : 1.6 * std::pow(unit(o.seed * 104729 + layer * 17 + e * 1009), 4);
        const double word    = o.flat ? 0 : 0.9 * unit(o.seed + token * 7 + layer * 131 + e * 65537);
        const double noise   = 0.7 * unit(o.seed * 3 + position * 8191 + layer * 127 + e * 524287);
        score[e]             = liking + general + word + noise;
    }
    std::vector<uint32_t> order(n_live);
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return score[a] > score[b]; });
    row    r;
    double sum = 0;
    for (uint32_t j = 0; j < o.n_used; ++j) {
        sum += std::exp(score[order[j]]);
    }
    for (uint32_t j = 0; j < o.n_used; ++j) {
        r.ids.push_back(order[j]);
        r.weights.push_back(static_cast<float>(std::exp(score[order[j]]) / sum));
        r.norms.push_back(static_cast<float>(0.5 + 4 * unit(order[j] * 77 + layer) + unit(position + layer)));
    }
    return r;
}

class maker {
public:
    explicit maker(const options & o) : o_(o), writer_(o.out, head(o), trace_options(o)) {
        for (uint32_t il = 0; il < o.n_layer; ++il) {
            block_layout l;
            l.layer         = static_cast<int32_t>(il);
            l.n_expert      = o.n_expert;
            l.n_expert_used = o.n_used;
            l.columns       = column_set(column::ids) | column::weights;
            l.columns       = o.norms ? l.columns | column::norms : l.columns;
            l.weight_sum    = 1;
            layout_.push_back(l);
        }
        counts_.assign(o.n_layer, std::vector<uint64_t>(o.n_expert));
        accesses_ = counts_;
    }

    void run(const std::vector<std::string> & pieces) {
        model_info m;
        m.architecture  = "gpt-oss";
        m.name          = o_.name;
        m.n_layer       = o_.n_layer;
        m.n_expert      = o_.n_expert;
        m.n_expert_used = o_.n_used;
        m.n_embd        = 2880;
        m.n_vocab       = 201088;
        writer_.model(m);
        if (o_.access) {
            put_access();
        }
        n_batches_ = (o_.n_prompt + o_.n_ubatch - 1) / o_.n_ubatch + o_.n_decode;
        for (uint32_t done = 0; done < o_.n_prompt;) {
            const uint32_t n = std::min(o_.n_ubatch, o_.n_prompt - done);
            ubatch(pieces, done, n, phase::prefill);
            done += n;
        }
        for (uint32_t i = 0; i < o_.n_decode; ++i) {
            ubatch(pieces, o_.n_prompt + i, 1, phase::decode);
        }
        writer_.finish({"finished", now_ns_, 0});
    }

    json truth() const {
        return {{"count", counts_},    {"accesses", accesses_}, {"tokens", tokens_},  {"ids", ids_},
                {"weights", weights_}, {"pieces", piece_of_},   {"label", label_of_}, {"bytes", writer_.bytes()}};
    }

private:
    static trace::trace_head head(const options & o) {
        trace::trace_head h;
        h.program  = "make_trace";
        h.trace_id = mix(o.seed);
        h.captured = column_set(column::ids) | column::weights;
        return h;
    }
    static trace::writer_options trace_options(const options & o) {
        trace::writer_options w;
        w.counts_only = o.counts_only;
        w.existing    = io::existing_file::replace;
        w.flush_ns    = o.delay_ms > 0 ? 0 : w.flush_ns;
        return w;
    }

    void put_access() {
        access_list list;
        list.push_back({"GET_ROWS", "embd", -1, -1, {"token_embd.weight"}});
        for (uint32_t il = 0; il < o_.n_layer; ++il) {
            const std::string blk = "blk." + std::to_string(il) + ".";
            list.push_back({"MUL_MAT", "Qcur", static_cast<int32_t>(il), -1, {blk + "attn_q.weight"}});
            for (const char * part : {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"}) {
                list.push_back(
                    {"MUL_MAT_ID", part, static_cast<int32_t>(il), static_cast<int32_t>(il), {blk + part + ".weight"}});
            }
        }
        access_ = writer_.access(list);
    }

    // Notes where the prompt of the next label begins.
    void put_label(uint32_t begin, uint32_t n) {
        if (o_.labels.empty()) {
            return;
        }
        const auto at = static_cast<uint32_t>(uint64_t(batch_) * o_.labels.size() / n_batches_);
        if (batch_ == 0 || at != label_) {
            prompt_begin_ = begin;
            writer_.note(json{{"prompt", at}, {"line", at + 1}, {"label", o_.labels[at]}, {"batch", batch_}}.dump());
        }
        label_ = at;
        label_of_.insert(label_of_.end(), n, o_.labels[at]);
    }

    void ubatch(const std::vector<std::string> & pieces, uint32_t begin, uint32_t n, phase how) {
        put_label(begin, n);
        classes_.clear();
        std::vector<int32_t> token, pos, seq;
        std::vector<uint8_t> phases(n, static_cast<uint8_t>(how));
        for (uint32_t i = begin; i < begin + n; ++i) {
            const std::string & text = pieces[i % pieces.size()];
            const auto [it, fresh]   = numbers_.emplace(text, static_cast<int32_t>(100 + numbers_.size()));
            if (fresh) {
                writer_.piece(it->second, text);
            }
            token.push_back(it->second);
            classes_.push_back(class_of(text));
            if (!o_.truth.empty()) {
                piece_of_.push_back(text);
            }
            pos.push_back(static_cast<int32_t>((i - prompt_begin_) / o_.n_seq));
            seq.push_back(static_cast<int32_t>(i % o_.n_seq));
        }
        rows_of(begin, token);
        now_ns_ += how == phase::decode ? 21'000'000 : 90'000'000;
        routed_ubatch u;
        u.time_ns = now_ns_;
        u.batch   = batch_++;
        u.access  = access_;
        u.token   = token;
        u.pos     = pos;
        u.seq     = seq;
        u.phases  = phases;
        u.layout  = &layout_;
        u.blocks  = blocks_;
        writer_.ubatch(u);
        tokens_ += n;
        if (o_.delay_ms > 0) {
            writer_.flush();
            std::this_thread::sleep_for(std::chrono::milliseconds(o_.delay_ms));
        }
    }

    void rows_of(uint32_t begin, const std::vector<int32_t> & token) {
        const size_t n = token.size(), k = o_.n_used;
        ids8_.assign(o_.n_layer, {});
        ids16_.assign(o_.n_layer, {});
        w_.assign(o_.n_layer, {});
        norm_.assign(o_.n_layer, {});
        blocks_.assign(o_.n_layer, {});
        for (uint32_t il = 0; il < o_.n_layer; ++il) {
            std::vector<bool> read(o_.n_expert);
            for (size_t i = 0; i < n; ++i) {
                const row r = route(o_, il, classes_[i], static_cast<uint64_t>(token[i]), begin + i);
                for (size_t j = 0; j < k; ++j) {
                    ids8_[il].push_back(static_cast<uint8_t>(r.ids[j]));
                    ids16_[il].push_back(static_cast<uint16_t>(r.ids[j]));
                    w_[il].push_back(r.weights[j]);
                    norm_[il].push_back(r.norms[j]);
                    counts_[il][r.ids[j]] += 1;
                    read[r.ids[j]] = true;
                }
                if (!o_.truth.empty()) {
                    ids_[std::to_string(il)].push_back(r.ids);
                    weights_[std::to_string(il)].push_back(r.weights);
                }
            }
            for (uint32_t e = 0; e < o_.n_expert; ++e) {
                accesses_[il][e] += read[e];
            }
            block_rows & b = blocks_[il];
            b.layout       = &layout_[il];
            b.n_rows       = static_cast<uint32_t>(n);
            b.ids          = o_.n_expert <= 256 ? static_cast<const void *>(ids8_[il].data()) : ids16_[il].data();
            b.values[0]    = w_[il].data();
            b.values[5]    = o_.norms ? norm_[il].data() : nullptr;
        }
    }

    options                            o_;
    trace::trace_writer                writer_;
    graph_layout                       layout_;
    std::vector<block_rows>            blocks_;
    std::vector<std::vector<uint8_t>>  ids8_;
    std::vector<std::vector<uint16_t>> ids16_;
    std::vector<std::vector<float>>    w_, norm_;
    std::vector<std::vector<uint64_t>> counts_, accesses_;
    std::vector<std::string>           piece_of_, label_of_;  // [token]
    std::vector<int>                   classes_;              // of the ubatch's tokens
    std::map<std::string, int32_t>     numbers_;
    json                               ids_ = json::object(), weights_ = json::object();
    uint64_t                           tokens_ = 0, now_ns_ = 0;
    uint32_t                           batch_ = 0, access_ = 0, n_batches_ = 0, label_ = 0, prompt_begin_ = 0;
};

const char * sample =
    "def mean(values):\n    total = 0\n    for v in values:\n        total += v\n    return total / len(values)\n\n"
    "What is 17 * 24 + 9? 17 * 24 = 408, and 408 + 9 = 417. So the answer is 417.\n\n"
    "The lamp was lit before the sun had gone, and the old harbour lay quiet under a violet sky. Nobody spoke of the "
    "storm; they mended nets, counted the boats twice, and waited for the bell.\n\n";

std::string slurp(const std::string & path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

int main(int argc, char ** argv) {
    options  o;
    CLI::App app{"traces for the tests of the page"};
    app.add_option("--out", o.out);
    app.add_option("--truth", o.truth);
    app.add_option("--name", o.name);
    app.add_option("--text", o.text_file);
    app.add_option("--labels", o.labels)->delimiter(',');
    app.add_option("--layers", o.n_layer);
    app.add_option("--experts", o.n_expert);
    app.add_option("--used", o.n_used);
    app.add_option("--prompt", o.n_prompt);
    app.add_option("--decode", o.n_decode);
    app.add_option("--ubatch", o.n_ubatch);
    app.add_option("--sequences", o.n_seq);
    app.add_option("--dead", o.n_dead);
    app.add_option("--seed", o.seed);
    app.add_option("--delay-ms", o.delay_ms);
    app.add_option("--gpt-oss-model", o.gpt_oss);
    app.add_flag("--norms", o.norms);
    app.add_flag("--flat", o.flat);
    app.add_flag("--counts-only", o.counts_only);
    app.add_flag("--access", o.access);
    CLI11_PARSE(app, argc, argv);
    if (!o.gpt_oss.empty()) {
        test::gpt_oss_20b().write(o.gpt_oss);
    }
    if (!o.out.empty()) {
        maker m(o);
        m.run(split(o.text_file.empty() ? sample : slurp(o.text_file)));
        if (!o.truth.empty()) {
            std::ofstream(o.truth) << m.truth().dump(-1, ' ', false, json::error_handler_t::replace);
        }
    }
    return 0;
}
