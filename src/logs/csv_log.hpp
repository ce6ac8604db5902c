#pragma once

// The CSV log of expert selections: one line per row of a layer,
//
//     Layer,Token,ExpertIDs,ExpertWeights
//     10,0,"[42 105 17]","[0.51 0.3 0.19]"
//
// Token is the token's position in its sequence, -1 where it is not known. Weights are the final gate weights, in the
// shortest decimals that read back as the same floats. The columns have no place for a layer's second block (GroveMoE):
// its rows are left out.

#include <memory>
#include <string>

#include "core/routing.hpp"
#include "io/byte_sink.hpp"

namespace moescope::logs {

inline constexpr char          csv_log_header[] = "Layer,Token,ExpertIDs,ExpertWeights\n";
inline constexpr io::file_kind csv_log_file     = {"Layer,Token,", "a CSV log of selections"};

// Without a line end: exports have further columns.
void append_csv_row(std::string & out, const routed_ubatch & u, const block_rows & b, uint32_t row);
// All rows of the ubatch, by block in execution order. Returns how many rows of second blocks were left out.
size_t append_csv_rows(std::string & out, const routed_ubatch & u);

// Writes the log while a program runs: each ubatch is appended whole, so the file reads well at any moment.
class csv_log final : public routing_sink {
public:
    explicit csv_log(std::unique_ptr<io::byte_sink> out);
    void ubatch(const routed_ubatch & u) override;

private:
    std::unique_ptr<io::byte_sink> out_;
    std::string                    text_;
};

}  // namespace moescope::logs
