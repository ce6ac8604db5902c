#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/expert_mask.hpp"
#include "evaluate/selection_log.hpp"
#include "infer/engine.hpp"

struct common_params;

namespace moescope::evaluate {

// The model as it is, and beside it the changed one: a second context of the same model that wears masks, or another file.
class paired_models {
public:
    // against: the other file's path; empty: the same model under masks. Throws error naming the file, also where the two have
    // not the same vocabulary. `interrupted` as for infer::engine.
    paired_models(common_params & params, const std::string & against, infer::llama_log & log,
                  std::function<bool()> interrupted);
    ~paired_models();

    // From now on the changed model routes under this mask. Not while it computes.
    void wear(const expert_mask & mask);

    // One of the two, with what its last batches came to.
    class side {
    public:
        infer::decoded decode(const std::vector<infer::batch_token> & tokens);
        void           forget();  // the memory, and the selections

        const float *         logits() const;  // of the last batch, [rows that asked for them][n_vocab]
        const selection_log & selections() const { return log_; }

    private:
        friend class paired_models;
        paired_models * both_    = nullptr;
        llama_context * context_ = nullptr;
        selection_log   log_;
    };
    side & full() { return full_; }
    side & changed() { return changed_; }

    infer::engine & engine() { return *engine_; }  // of the full model
    size_t          n_vocab() const;

private:
    struct capturing;

    std::function<bool()>          interrupted_;
    side                           full_, changed_;
    std::unique_ptr<capturing>     capture_;  // before the contexts, which it watches
    std::unique_ptr<infer::engine> engine_, other_;
    struct twin;
    std::unique_ptr<twin> twin_;
};

}  // namespace moescope::evaluate
