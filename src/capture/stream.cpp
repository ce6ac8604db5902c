#include "capture/stream.hpp"

#include <algorithm>

#include <sys/stat.h>

#include "capture/model_query.hpp"

namespace moescope::capture {

namespace {

// A warm-up is a handful of tokens. A first decode larger than this is none, and need not wait.
constexpr size_t max_held_bytes  = 16u << 20;
constexpr size_t max_held_tokens = 64;

// How llama.cpp's programs try out whether a context can forget single tokens: two tokens 0, nothing else said.
bool is_trial(const llama_batch & b) {
    return b.n_tokens == 2 && b.token != nullptr && b.token[0] == 0 && b.token[1] == 0 && b.pos == nullptr &&
           b.seq_id == nullptr;
}

// How many sequences the batch speaks of; 0 when it names one that cannot be. llama_decode refuses such a batch, but
// llama_memory_seq_pos_max would end the program.
int32_t count_sequences(const ggml_api & api, const llama_batch & batch) {
    const int64_t n_max =
        api.llama_max_parallel_sequences != nullptr ? int64_t(api.llama_max_parallel_sequences()) : 64;
    int32_t n_seq = 1;
    for (int32_t i = 0; batch.seq_id != nullptr && batch.n_seq_id != nullptr && i < batch.n_tokens; ++i) {
        for (int32_t s = 0; s < batch.n_seq_id[i]; ++s) {
            if (batch.seq_id[i][s] < 0 || batch.seq_id[i][s] >= n_max) {
                return 0;
            }
            n_seq = std::max(n_seq, batch.seq_id[i][s] + 1);
        }
    }
    return n_seq;
}

// By sequence id, the position at which a batch without positions goes on. Encoders begin at 0.
std::vector<int32_t> next_positions(const ggml_api & api, const llama_context * ctx, int32_t n_seq, bool encode) {
    std::vector<int32_t> next;
    if (ctx == nullptr || api.llama_get_memory == nullptr || api.llama_memory_seq_pos_max == nullptr) {
        return next;
    }
    llama_memory_t memory = encode ? nullptr : api.llama_get_memory(ctx);
    next.resize(static_cast<size_t>(n_seq), 0);
    for (int32_t s = 0; s < n_seq && memory != nullptr; ++s) {
        next[static_cast<size_t>(s)] = api.llama_memory_seq_pos_max(memory, s) + 1;
    }
    return next;
}

}  // namespace

stream::stream(const ggml_api & api, const llama_context * ctx, model_info model, open_sink open)
    : api_(api),
      ctx_(ctx),
      model_(std::move(model)),
      open_(std::move(open)) {
    first_ = ctx != nullptr;  // without a context no reset will be seen
}

void stream::find_file(const void * weight_address) {
    if (opened_ || !model_.file.empty()) {
        return;
    }
    struct stat s    = {};
    model_.file      = file_behind(weight_address);
    model_.file_size = ::stat(model_.file.c_str(), &s) == 0 ? static_cast<uint64_t>(s.st_size) : 0;
}

void stream::begin_batch(const llama_batch * batch, bool encode) {
    n_batches_ += 1;
    if (!encode) {
        release_held();  // what waited was no warm-up
        n_decodes_ += 1;
        cleared_ = false;
        first_   = first_ && n_decodes_ == 1;
        trial_   = batch != nullptr && is_trial(*batch);
    }
    const int32_t n_seq = batch != nullptr ? count_sequences(api_, *batch) : 0;
    if (n_seq == 0) {
        replay_.begin_unknown();
        return;
    }
    replay_.begin(*batch, batch->pos == nullptr ? next_positions(api_, ctx_, n_seq, encode) : std::vector<int32_t>());
}

void stream::perf_reset() {
    if (first_ && cleared_) {
        drop_held();
    }
    first_ = false;
}

void stream::memory_cleared() {
    cleared_ = true;
    if (trial_) {
        drop_held();
        trial_ = false;
    }
}

void stream::drop_held() {
    held_.clear();
    held_bytes_ = 0;
    n_batches_ -= std::min(n_batches_, 1u);
}

void stream::release_held() {
    for (held_ubatch & h : held_) {
        deliver(h.buffer, h.reads);
    }
    held_.clear();
    held_bytes_ = 0;
}

void stream::release() {
    first_ = trial_ = false;
    release_held();
}

void stream::close() {
    release_held();
    if (sink_ && n_stopped_ > 0) {
        sink_->note("graphs not recorded, because the program's own eval callback stopped them early: " +
                    std::to_string(n_stopped_));
    }
    sink_.reset();
}

void stream::attribute(ubatch_buffer & u) {
    u.batch = n_batches_ > 0 ? n_batches_ - 1 : 0;
    replay_.attribute(u.token, u.pos, u.seq);
    for (size_t i = 0; i < u.token.size(); ++i) {
        const bool  alone = u.seq[i] >= 0 ? replay_.alone(u.seq[i]) : u.token.size() == 1 && replay_.n_tokens() <= 1;
        const phase found = alone && u.pos[i] > 0 ? phase::decode : phase::prefill;
        u.phases[i]       = static_cast<uint8_t>(phase_.value_or(found));
    }
}

void stream::submit(ubatch_buffer & u, const access_list & reads) {
    if (warmup_) {
        return;
    }
    attribute(u);
    if (!holding()) {
        deliver(u, reads);
        return;
    }
    if (u.token.size() > max_held_tokens || held_bytes_ + u.bytes() > max_held_bytes) {
        first_ = trial_ = false;
        release_held();
        deliver(u, reads);
        return;
    }
    held_bytes_ += u.bytes();
    held_.push_back({u, reads});
}

void stream::deliver(ubatch_buffer & u, const access_list & reads) {
    if (!failure_.empty()) {
        return;
    }
    try {
        if (!opened_) {
            opened_ = true;
            sink_   = open_();
            if (sink_) {
                sink_->model(model_);
            }
        }
        if (!sink_) {
            return;
        }
        name_tokens(u);
        u.access = reads.empty() ? 0 : sink_->access(reads);
        sink_->ubatch(u.view());
    } catch (const std::exception & e) {
        failure_ = e.what();
        sink_.reset();
    }
}

void stream::name_tokens(const ubatch_buffer & u) {
    std::string text;
    for (const int32_t t : u.token) {
        if (t < 0) {
            continue;
        }
        if (static_cast<size_t>(t) >= named_.size()) {
            named_.resize(std::max(static_cast<size_t>(t) + 1, static_cast<size_t>(model_.n_vocab)));
        }
        if (!named_[static_cast<size_t>(t)]) {
            named_[static_cast<size_t>(t)] = true;
            if (token_text(api_, ctx_, t, text)) {
                sink_->piece(t, text);
            }
        }
    }
}

}  // namespace moescope::capture
