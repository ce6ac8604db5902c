#include "cli/llama/recording.hpp"

#include "common.h"

#include "core/error.hpp"
#include "core/fan_out.hpp"
#include "io/byte_sink.hpp"

namespace moescope::cli {

namespace {

template <class Duration>
uint64_t as_ns(Duration d) {
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(d).count());
}

}  // namespace

recording::recording(recording_options o)
    : o_(std::move(o)),
      session_(o_.capture, [this](uint32_t stream) { return open(stream); }) {}

void recording::prepare(common_params & params) {
    llama_context_params c = llama_context_default_params();
    session_.prepare(c);
    params.cb_eval           = c.cb_eval;
    params.cb_eval_user_data = c.cb_eval_user_data;
}

void recording::check() const {
    if (const std::string why = session_.failure(); !why.empty()) {
        throw error(why);
    }
}

void recording::note(const std::string & text) {
    pending_notes_.push_back(text);
    if (writer_) {
        hand_over_notes();
    }
}

void recording::begin_prompt(const std::string & text, size_t n_tokens) {
    session_.read_pending();  // of the prompt before: it goes in front of this one's lines
    prompt_ = {text, n_tokens};
    if (log_) {
        log_->prompt(text, n_tokens);
    }
}

void recording::finish(const std::string & reason) {
    session_.read_pending();
    check();
    if (log_) {
        log_->finish();
    }
    if (writer_) {
        const capture::time_spent spent = session_.spent();
        writer_->finish({reason, as_ns(std::chrono::steady_clock::now() - begin_), spent.capture_ns, spent.compute_ns});
    }
}

std::unique_ptr<routing_sink> recording::open(uint32_t stream) {
    if (stream != 1) {
        return nullptr;  // run has one context
    }
    writer_ = std::make_unique<trace::trace_writer>(
        o_.path, trace::trace_head::of_this_process(o_.capture.what, stream, o_.capture.mask.to_text()), o_.writer);
    hand_over_notes();
    auto sinks = std::make_unique<fan_out>();
    sinks->add(*writer_);
    if (!o_.log_path.empty()) {
        log_ = std::make_unique<logs::text_log>(io::open_file_sink(o_.log_path, o_.writer.existing));
        log_->prompt(prompt_.first, prompt_.second);
        sinks->add(*log_);
    }
    return sinks;
}

void recording::hand_over_notes() {
    for (const std::string & n : pending_notes_) {
        writer_->note(n);
    }
    pending_notes_.clear();
}

}  // namespace moescope::cli
