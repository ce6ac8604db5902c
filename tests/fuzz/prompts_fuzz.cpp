// libFuzzer target: any bytes as a corpus of prompts (JSONL). Every line that is not blank is a sample, empty or malformed; the
// order is that of the file until it is shuffled.

#include <algorithm>
#include <set>

#include "common.hpp"
#include "core/error.hpp"
#include "infer/corpus.hpp"

using namespace moescope;
using fuzz::promised;

namespace {

uint64_t lines_with_text(const std::string & text) {
    uint64_t n = 0;
    for (size_t begin = text.rfind("\xef\xbb\xbf", 0) == 0 ? 3 : 0; begin < text.size();) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        n += text.substr(begin, end - begin).find_first_not_of(" \t\r\n") != std::string::npos;
        begin = end + 1;
    }
    return n;
}

void check_samples(const infer::corpus & c, const std::string & text) {
    promised(c.samples.size() + c.malformed.size() + c.n_empty == lines_with_text(text), "every line is accounted for");
    promised(c.bytes == text.size(), "the corpus knows its size");
    uint64_t line = 0;
    for (const infer::sample & s : c.samples) {
        promised(s.line > line, "samples come in the order of their lines");
        promised(s.text.empty() != s.messages.empty(), "a sample is a text or messages");
        line = s.line;
    }
}

void check_shuffled(const infer::corpus & c, const std::string & text, infer::corpus_options o) {
    o.shuffle                    = true;
    o.limit                      = 2;
    const infer::corpus shuffled = infer::parse_jsonl(text, "fuzz", o);
    std::set<uint64_t>  lines;
    for (const infer::sample & s : shuffled.samples) {
        lines.insert(s.line);
        promised(std::any_of(c.samples.begin(), c.samples.end(),
                             [&](const infer::sample & of) { return of.line == s.line && of.text == s.text; }),
                 "a shuffled corpus has the same samples");
    }
    promised(lines.size() == std::min<size_t>(2, c.samples.size()), "and none of them twice");
}

void check_strict(const infer::corpus & c, const std::string & text, infer::corpus_options o) {
    o.strict     = true;
    bool refused = false;
    try {
        infer::parse_jsonl(text, "fuzz", o);
    } catch (const error &) {
        refused = true;
    }
    promised(refused == !c.malformed.empty(), "strict refuses what has a malformed line, and nothing else");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    const std::string     text = fuzz::text_of(data, size);
    infer::corpus_options o;
    o.label_key = "label";
    o.max_line  = 1024;
    infer::corpus c;
    try {
        c = infer::parse_jsonl(text, "fuzz", o);
    } catch (const error &) {
        return 0;  // no sample at all; anything else ends the run
    }
    check_samples(c, text);
    check_shuffled(c, text, o);
    check_strict(c, text, o);
    return 0;
}
