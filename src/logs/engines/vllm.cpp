// vLLM's routed experts: in the responses of its server (lists, or a .npy in base64), and as .npy files.

#include <algorithm>
#include <fstream>

#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "io/mapped_file.hpp"
#include "logs/arrays/npy.hpp"
#include "logs/engines/base64.hpp"
#include "logs/engines/built_source.hpp"
#include "logs/engines/engines.hpp"
#include "logs/engines/id_cube.hpp"
#include "logs/engines/json_lines.hpp"

namespace moescope::logs {

namespace {

using nlohmann::json;

constexpr char no_number[] = "the file does not say how many experts there are: taken as the largest id + 1";
constexpr char no_names[]  = "layers are numbered as vLLM does: among the layers with experts, or among all layers";

// Ids of a stretch of tokens, and the memory that they lie in.
struct owned_cube {
    std::vector<int32_t>   list;
    std::vector<uint8_t>   npy;
    std::optional<id_cube> ids;
};

void flatten(const json & value, size_t depth, std::vector<uint64_t> & shape, std::vector<int32_t> & to,
             const std::string & what) {
    if (depth == 3) {
        if (!value.is_number_integer()) {
            throw error(what + " holds what is no expert id");
        }
        to.push_back(static_cast<int32_t>(std::clamp<int64_t>(value.get<int64_t>(), -1, INT32_MAX)));
        return;
    }
    if (!value.is_array() || (shape.size() > depth && shape[depth] != value.size())) {
        throw error(what + " is no list of tokens, layers and ids of even lengths");
    }
    if (shape.size() == depth) {
        shape.push_back(value.size());
    }
    for (const json & v : value) {
        flatten(v, depth + 1, shape, to, what);
    }
}

std::unique_ptr<owned_cube> cube_of(const json & value, const std::string & what) {
    auto cube = std::make_unique<owned_cube>();
    if (value.is_string()) {
        cube->npy = from_base64(value.get_ref<const std::string &>(), what);
        cube->ids.emplace(read_npy({cube->npy.data(), cube->npy.size()}, what), id_cube::order::tokens_first, what);
        return cube;
    }
    std::vector<uint64_t> shape;
    flatten(value, 0, shape, cube->list, what);
    shape.resize(3, 0);
    cube->ids.emplace(array_view(cube->list.data(), cube->list.size() * sizeof(int32_t), number_type::i32, shape,
                                 {shape[1] * shape[2], shape[2], 1}, what),
                      id_cube::order::tokens_first, what);
    return cube;
}

// A stretch of one sequence: its ids, and which tokens they belong to.
struct stretch {
    std::unique_ptr<owned_cube> cube;
    std::vector<int32_t>        tokens;  // ids in the vocabulary, as far as they are known
    int32_t                     position = 0, sequence = 0;
    uint64_t                    n_prompt = 0;  // tokens at its beginning that are prompt
};

std::vector<int32_t> token_ids(const json & owner, const char * key) {
    std::vector<int32_t> ids;
    if (owner.contains(key) && owner[key].is_array()) {
        for (const json & t : owner[key]) {
            ids.push_back(t.is_number_integer() ? t.get<int32_t>() : -1);
        }
    }
    return ids;
}

// The stretches of a response. Its sequences are numbered from *sequence on.
std::vector<stretch> stretches_of(const json & response, int32_t & sequence) {
    std::vector<stretch> all;
    uint64_t             n_prompt = 0;
    const auto           prompt   = token_ids(response, "prompt_token_ids");
    if (response.contains("prompt_routed_experts") && !response["prompt_routed_experts"].is_null()) {
        auto cube = cube_of(response["prompt_routed_experts"], "prompt_routed_experts");
        n_prompt  = cube->ids->n_tokens();
        all.push_back({std::move(cube), prompt, 0, sequence, n_prompt});
    }
    for (const json & choice : response.value("choices", json::array())) {
        if (choice.contains("routed_experts") && !choice["routed_experts"].is_null()) {
            stretch s;
            s.cube     = cube_of(choice["routed_experts"], "routed_experts");
            s.sequence = sequence;
            s.tokens   = token_ids(choice, "token_ids");
            s.position = static_cast<int32_t>(n_prompt);
            if (n_prompt == 0) {  // the whole sequence in one array
                s.n_prompt = std::min<uint64_t>(prompt.size(), s.cube->ids->n_tokens());
                s.tokens.insert(s.tokens.begin(), prompt.begin(), prompt.end());
            }
            all.push_back(std::move(s));
        }
        sequence += 1;
    }
    return all;
}

// Prompts as one ubatch, generated tokens one by one.
class vllm_source final : public built_source {
public:
    explicit vllm_source(const std::string & path) : built_source(path, "vllm"), lines_(path) {
        cube_survey survey;
        uint64_t    n = 0;
        while (next_response()) {
            for (const stretch & s : stretches_) {
                survey.add(*s.cube->ids, path);
                n += 1;
            }
        }
        if (n == 0) {
            throw error("the responses have no routed_experts")
                .in(path)
                .fix("ask vLLM for them (--enable-return-routed-experts)");
        }
        set_blocks(survey.blocks());
        for (const std::string & text : survey.notes()) {
            note(text);
        }
        note(no_number);
        note(no_names);
        vllm_source::rewind();
    }

    void rewind() override {
        built_source::rewind();
        lines_.rewind();
        stretches_.clear();
        sequence_ = 0;
        at_       = {};
    }

protected:
    bool build(uint64_t number, ubatch_buffer & to) override {
        while (at_.stretch == stretches_.size() || at_.token == stretches_[at_.stretch].cube->ids->n_tokens()) {
            if (at_.stretch < stretches_.size()) {
                at_ = {at_.stretch + 1, 0};
            } else if (next_response()) {
                at_ = {};
            } else {
                return false;
            }
        }
        const stretch & s      = stretches_[at_.stretch];
        const bool      prompt = at_.token < s.n_prompt;
        const uint64_t  first = at_.token, last = prompt ? s.n_prompt : first + 1;
        to.set_tokens(last - first);
        for (uint64_t t = first; t < last; ++t) {
            to.token[t - first]  = t < s.tokens.size() ? s.tokens[t] : -1;
            to.pos[t - first]    = s.position + static_cast<int32_t>(t);
            to.seq[t - first]    = s.sequence;
            to.phases[t - first] = static_cast<uint8_t>(prompt ? phase::prefill : phase::decode);
        }
        to.batch = static_cast<uint32_t>(number);
        build_rows(*s.cube->ids, first, last, blocks(), nullptr, to);
        at_.token = last;
        return true;
    }

private:
    bool next_response() {
        json response;
        if (!lines_.next(response)) {
            return false;
        }
        try {
            stretches_ = stretches_of(response, sequence_);
        } catch (error & e) {
            throw e.in(info().path);
        } catch (const json::exception &) {
            throw error("a response whose routed_experts make no sense").in(info().path);
        }
        return true;
    }

    struct place {
        size_t   stretch = 0;
        uint64_t token   = 0;
    };

    json_lines           lines_;
    std::vector<stretch> stretches_;  // of the response at hand
    int32_t              sequence_ = 0;
    place                at_;
};

// A whole array, [tokens][layers][k], in ubatches of its tokens.
class npy_source final : public built_source {
public:
    explicit npy_source(const std::string & path)
        : built_source(path, "npy"),
          file_(path),
          ids_(read_npy({file_.data(), file_.size()}, path), id_cube::order::tokens_first, path) {
        cube_survey survey;
        survey.add(ids_, path);
        set_blocks(survey.blocks());
        for (const std::string & text : survey.notes()) {
            note(text);
        }
        note(no_number);
        note(no_names);
        note("the file does not say which tokens are prompt: all count as such");
    }

protected:
    bool build(uint64_t number, ubatch_buffer & to) override {
        constexpr uint64_t at_once = 512;
        const uint64_t     first = number * at_once, last = std::min(first + at_once, ids_.n_tokens());
        if (first >= last) {
            return false;
        }
        to.set_tokens(last - first);
        for (uint64_t t = first; t < last; ++t) {
            to.pos[t - first]    = static_cast<int32_t>(t);
            to.seq[t - first]    = 0;
            to.phases[t - first] = static_cast<uint8_t>(phase::prefill);
        }
        to.batch = static_cast<uint32_t>(number);
        build_rows(ids_, first, last, blocks(), nullptr, to);
        return true;
    }

private:
    io::mapped_file file_;
    id_cube         ids_;
};

}  // namespace

std::unique_ptr<trace::trace_source> open_vllm_responses(const std::string & path) {
    return std::make_unique<vllm_source>(path);
}

std::unique_ptr<trace::trace_source> open_npy(const std::string & path) {
    return std::make_unique<npy_source>(path);
}

}  // namespace moescope::logs
