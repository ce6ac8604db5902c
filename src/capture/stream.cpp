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

stream::stream(const ggml_api & api, const llama_context * ctx, model_info model, draft_board & board, open_sink open)
    : api_(api),
      ctx_(ctx),
      model_(std::move(model)),
      open_(std::move(open)),
      drafts_(board) {
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
    tell_events();
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
        drafts_.begin(nullptr);
        return;
    }
    replay_.begin(*batch, batch->pos == nullptr ? next_positions(api_, ctx_, n_seq, encode) : std::vector<int32_t>());
    if (!encode) {
        for (const memory_event & e : drafts_.unseen(replay_)) {
            memory_changed(e, e.last);
        }
        tell_events();
    }
    drafts_.begin(encode ? nullptr : &replay_);
}

int32_t stream::last_position(llama_memory_t memory, int32_t seq) const {
    int32_t last = -1;
    for (const int32_t known : drafts_.sequences()) {  // asked for another, llama.cpp might end the program
        if ((seq < 0 || seq == known) && api_.llama_memory_seq_pos_max != nullptr) {
            last = std::max(last, api_.llama_memory_seq_pos_max(memory, known));
        }
    }
    return last;
}

void stream::memory_changed(memory_event e, int32_t last) {
    drafts::judgement found = drafts_.judge(e, last);
    if (found.what == drafts::verdict::nothing) {
        return;
    }
    e.n_ubatches = n_ubatches_;
    waiting_.push_back({std::move(e), std::move(found.maybe_drafts)});
    if (std::all_of(waiting_.begin(), waiting_.end(), [](const auto & w) { return w.maybe_drafts.tokens.empty(); })) {
        tell_events();
    }
}

// The other contexts have computed what they were to compute of what happened before: it can be decided.
void stream::tell_events() {
    for (waiting_event & w : waiting_) {
        if (!w.maybe_drafts.tokens.empty()) {
            drafts_.decide(w.event, w.maybe_drafts);
        }
        if (holding()) {
            held_.push_back({{}, {}, std::move(w.event)});
        } else {
            hand_over(w.event);
        }
    }
    waiting_.clear();
}

void stream::hand_over(const memory_event & e) {
    try {
        if (sink_ && failure_.empty()) {
            sink_->memory(e);
            told_.push_back(e);
        }
    } catch (const std::exception & why) {
        failure_ = why.what();
        sink_.reset();
    }
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
    waiting_.clear();
    if (n_ubatches_ > 0 && !drafts_.sequences().empty()) {
        memory_event all;
        all.why        = memory_event::removal::drop;
        all.n_ubatches = n_ubatches_;
        waiting_.push_back({all, {}});
        tell_events();
    }
    drafts_.clear();
}

void stream::drop_held() {
    for (const held_ubatch & h : held_) {
        n_ubatches_ -= !h.event;
    }
    held_.clear();
    held_bytes_ = 0;
    n_batches_ -= std::min(n_batches_, 1u);
}

void stream::release_held() {
    for (held_ubatch & h : held_) {
        h.event ? hand_over(*h.event) : deliver(h.buffer, h.reads);
    }
    held_.clear();
    held_bytes_ = 0;
}

void stream::release() {
    first_ = trial_ = false;
    release_held();
}

void stream::close() {
    tell_events();
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
        u.phases[i] = static_cast<uint8_t>(phase_.value_or(is_decoded(u, i) ? phase::decode : phase::prefill));
        drafts_.placed(replay_.found()[i], {n_ubatches_, static_cast<uint32_t>(i)},
                       u.phases[i] == static_cast<uint8_t>(phase::decode));
    }
}

bool stream::is_decoded(const ubatch_buffer & u, size_t token) const {
    if (u.pos[token] <= 0) {
        return false;
    }
    if (replay_.found()[token] != batch_replay::nowhere) {
        return drafts_.is_generated(replay_.found()[token]);
    }
    return u.seq[token] >= 0 ? replay_.alone(u.seq[token]) : u.token.size() == 1 && replay_.n_tokens() <= 1;
}

void stream::submit(ubatch_buffer & u, const access_list & reads) {
    if (warmup_) {
        return;
    }
    attribute(u);
    n_ubatches_ += 1;
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
        u.access           = reads.empty() ? 0 : sink_->access(reads);
        routed_ubatch view = u.view();
        view.memory        = told_;
        sink_->ubatch(view);
        told_.clear();
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
