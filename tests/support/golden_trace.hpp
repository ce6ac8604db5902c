#pragma once

// What the golden traces hold, by formula (tests/support/planted_trace.hpp). A golden file is made once, when its version
// of the format is released, and never again; tests compare it with the formulas.

#include "planted_trace.hpp"
#include "trace/writer.hpp"

namespace moescope::test::golden {

inline planted::plan plan() {
    planted::plan p;        // 16 experts, top-4, layers 1 to 3, every column
    p.second_block = true;  // layer 1 has a second block, as in GroveMoE
    return p;  // 5 prompt tokens in ubatches of 3, then 3 generated ones; the last layer computes last rows
}

inline trace::trace_head head() {
    trace::trace_head h;
    h.program         = "make-golden";
    h.pid             = 4242;
    h.started_unix_ns = 1'700'000'000'000'000'000;
    h.trace_id        = 7;
    h.captured        = capture_list::all();
    return h;
}

inline access_list accesses() {
    return {
        {"MUL_MAT", "ffn_moe_logits-1", 1, -1, {"blk.1.ffn_gate_inp.weight"}},
        {"MUL_MAT_ID", "ffn_moe_gate-1", 1, 0, {"blk.1.ffn_gate_exps.weight"}},
        {"MUL_MAT", "result_output", -1, -1, {"output.weight"}},
    };
}

// What the program does to its memory, since version 2: it takes the first generated token for a draft that it rejects, gives
// the text a second sequence, and shifts what lies behind position 2.
inline std::vector<memory_event> events() {
    std::vector<memory_event> all(3);
    all[0].kind       = memory_event::what::remove;
    all[0].seq        = 0;
    all[0].p0         = 5;
    all[0].last       = 5;
    all[0].why        = memory_event::removal::rejected;
    all[0].n_ubatches = 3;
    all[0].taken_back = {{2, 0}};
    all[1].kind       = memory_event::what::copy;
    all[1].seq        = 0;
    all[1].to         = 1;
    all[1].n_ubatches = 3;
    all[2].kind       = memory_event::what::shift;
    all[2].seq        = 0;
    all[2].p0         = 2;
    all[2].p1         = 7;
    all[2].delta      = -2;
    all[2].n_ubatches = 4;
    return all;
}

inline const char * note() {
    return "made by formula";
}

inline trace::trace_end end() {
    return {"finished", 8'000'000, 1'000};
}

}  // namespace moescope::test::golden
