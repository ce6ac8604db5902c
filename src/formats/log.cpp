// The expert selection log for people, as logs/text_log.hpp lays it out.

#include "formats/format.hpp"
#include "formats/prompts.hpp"
#include "formats/text_out.hpp"
#include "logs/text_log.hpp"

namespace moescope::formats {

namespace {

class log_exporter final : public exporter {
public:
    log_exporter(std::FILE * out, const export_options & options) : out_(out), format_(options.max_columns) {}

    void begin(trace::trace_source & source) override {
        prompts_  = find_prompts(source);
        complete_ = source.info().ended || source.info().format != "moetrace";
        format_.banner(out_.text());
    }

    void ubatch(const routed_ubatch & u) override {
        for (; next_prompt_ < prompts_.size() && prompts_[next_prompt_].ubatch == ubatches_; ++next_prompt_) {
            const prompt & p = prompts_[next_prompt_];
            format_.prompt(out_.text(), p.complete ? p.text : "(text not recorded)", p.n_tokens);
        }
        ubatches_ += 1;
        format_.ubatch(out_.text(), u);
        out_.drain();
    }

    std::vector<std::string> end() override {
        if (complete_) {
            format_.end(out_.text());
        } else {
            out_.text() += "=== The trace ends here: the program was killed or still runs ===\n";
        }
        out_.flush();
        return {};
    }

private:
    text_out              out_;
    logs::text_log_format format_;
    std::vector<prompt>   prompts_;
    size_t                next_prompt_ = 0;
    uint64_t              ubatches_    = 0;
    bool                  complete_    = true;
};

}  // namespace

std::unique_ptr<exporter> make_log(std::FILE * out, const export_options & options) {
    return std::make_unique<log_exporter>(out, options);
}

}  // namespace moescope::formats
