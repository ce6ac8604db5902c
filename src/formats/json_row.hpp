#pragma once

#include <string>
#include <unordered_map>

#include "analysis/tools/labelled_requests.hpp"
#include "core/routing.hpp"
#include "trace/source.hpp"

namespace moescope::formats {

// One routed row with everything that was captured of it, as a JSON object on one line:
//
//     {"stream":1,"batch":0,"ubatch":0,"time_ns":0,"row":0,"sequence":0,"position":0,"phase":"prefill","prompt":0,
//      "label":"code","token":42,"text":" the","layer":3,"block":0,"ids":[…],"weights":[…],"weights_raw":[…],"logits":[…],"probs":[…],
//      "selection":[…],"norms":[…],"gate_input":[…]}
//
// prompt is the number of the request (trace/requests.hpp); label is there where the trace keeps any. Unknown numbers and
// texts are null, and so are numbers that are not finite (JSON has none). Bytes of a text that are no
// UTF-8 become U+FFFD. Numbers read back as the same floats.
class json_rows {
public:
    explicit json_rows(const trace::trace_source & source) : source_(source), requests_(source) {}
    // ubatch: its number in the trace, from 0; rows come in the order of the trace.
    void append(std::string & out, const routed_ubatch & u, uint64_t ubatch, const block_rows & b, uint32_t row);

private:
    const std::string & text_of(int32_t token);
    void                append_request(std::string & out, int64_t request) const;

    const trace::trace_source &              source_;
    analysis::labelled_requests              requests_;
    uint64_t                                 followed_ = UINT64_MAX;  // the latest ubatch
    std::unordered_map<int32_t, std::string> texts_;                  // as JSON strings
};

// The name of a captured column in JSON and in file names: "weights_raw".
const char * column_key(column column);

}  // namespace moescope::formats
