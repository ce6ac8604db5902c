#pragma once

// The text log of expert selections:
//
//     === MoE Expert Selection Log ===
//     Prompt: Explain quantum computing
//     Tokens: 15
//
//     Layer 10 - Raw Logits:                          where captured
//       n_experts=160, n_tokens=15
//       Token 0: [1.204, -0.310, …]
//     Layer 10 - Router Probabilities:                where captured
//       n_experts=160, n_tokens=15
//       Token 0: [0.012, 0.003, …]
//     Layer 10 - Selected Expert IDs (top-8):
//       Token 0: [42, 105, 17, 88, 134, 3, 99, 12]
//     Layer 10 - Expert Routing Weights:
//       Token 0: [0.245, 0.189, 0.156, 0.112, 0.089, 0.078, 0.067, 0.064] (sum=1.000)
//
//     === Inference Complete ===
//
// Blocks follow one another in execution order, an empty line behind each: every ubatch brings one per MoE layer, so the
// blocks of generated tokens follow those of the prompt. Token is the position in the sequence, "?" where it is not
// known; a sequence other than 0 is named behind it ("Token 3 (sequence 1)"); a layer's second block (GroveMoE) is
// "Layer 10 block 1"; n_tokens counts the rows that follow, which in a last layer may be fewer than the batch has.
// A further prompt brings its own Prompt and Tokens lines.

#include <cstdint>
#include <memory>
#include <string>

#include "core/routing.hpp"
#include "io/byte_sink.hpp"

namespace moescope::logs {

// Appends the log's pieces to a string, in the order in which a log has them.
class text_log_format {
public:
    // max_columns: values shown of each list before "..."; 0: all.
    explicit text_log_format(size_t max_columns = 0) : max_columns_(max_columns) {}

    void banner(std::string & out) const;
    // Line breaks and control characters in the text are escaped.
    void prompt(std::string & out, const std::string & text, size_t n_tokens) const;
    void ubatch(std::string & out, const routed_ubatch & u) const;
    void end(std::string & out) const;

private:
    void block(std::string & out, const routed_ubatch & u, const block_rows & b) const;
    void scores(std::string & out, const routed_ubatch & u, const block_rows & b, column column,
                const char * title) const;

    size_t max_columns_;
};

// Writes the log while a program runs: each ubatch is appended whole, so the file reads well at any moment.
class text_log final : public routing_sink {
public:
    explicit text_log(std::unique_ptr<io::byte_sink> out, size_t max_columns = 0);

    void prompt(const std::string & text, size_t n_tokens);  // before the prompt's first ubatch
    void ubatch(const routed_ubatch & u) override;
    void finish();  // the last call

private:
    void write();

    std::unique_ptr<io::byte_sink> out_;
    text_log_format                format_;
    std::string                    text_;
};

}  // namespace moescope::logs
