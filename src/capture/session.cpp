#include "capture/session.hpp"

#include <atomic>

#include "capture/tap.hpp"
#include "core/error.hpp"

namespace moescope::capture {

struct session::impl {
    std::unique_ptr<tap>  t;
    std::atomic<uint32_t> n_opened{0};
};

session::session(capture_options options, open_stream open) : impl_(std::make_unique<impl>()) {
    const column_set of_probes = column::gram | column::runner_up | column::peaks;
    if (options.by == mechanism::eval_callback && (options.what.columns & of_probes) != column_set()) {
        throw usage_error("the eval callback cannot capture " + to_string(options.what.columns & of_probes))
            .fix("capture by probes");
    }
    if (tap::active() != nullptr) {
        throw error("another capture is already running in this process");
    }
    ggml_api    api;
    std::string missing;
    if (!api.resolve(nullptr, missing)) {
        throw error("this program's llama.cpp cannot be captured: it has no function " + missing);
    }
    tap::open_sink numbered;
    if (open) {
        numbered = [this, open = std::move(open)] { return open(++impl_->n_opened); };
    }
    impl_->t = std::make_unique<tap>(api, std::move(options), std::move(numbered));
    tap::activate(impl_->t.get());
}

session::~session() {
    read_pending();
    tap::activate(nullptr);
    impl_->t->close_all();
}

void session::set_mask(llama_context * ctx, const expert_mask & mask) {
    impl_->t->set_mask(ctx, mask);
}

void session::prepare(llama_context_params & params) {
    if (impl_->t->records() && impl_->t->by() == mechanism::eval_callback) {
        params.cb_eval           = eval_capture::eval;
        params.cb_eval_user_data = &impl_->t->new_eval_capture();
    }
}

void session::set_phase(phase p) {
    impl_->t->set_phase(p);
}

void session::read_pending() {
    impl_->t->read_pending();
}

time_spent session::spent() const {
    return impl_->t->spent();
}

std::string session::failure() const {
    const std::string unmasked = impl_->t->unmasked();
    return unmasked.empty() ? impl_->t->failure() : "the routers are not masked: " + unmasked;
}

}  // namespace moescope::capture
