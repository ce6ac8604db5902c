// libFuzzer target: any bytes as a .moeval, which `evaluate` resumes and adds up, or as the JSON it writes, which `report` reads.
// They are read, or refused with moescope::error; a .moeval that was read is written and read back as it is.

#include <nlohmann/json.hpp>

#include "common.hpp"
#include "core/error.hpp"
#include "evaluate/evaluation.hpp"
#include "report/damage.hpp"

using namespace moescope;
using fuzz::promised;

namespace {

void read_evaluation(const std::string & bytes) {
    evaluate::evaluation e    = evaluate::decode_moeval(bytes, "fuzz");
    const std::string    once = evaluate::encode_moeval(e);
    promised(evaluate::encode_moeval(evaluate::decode_moeval(once, "again")) == once,
             "an evaluation is written and read back as it is");
    promised(e.predictions() >= 0, "predictions are counted");
    for (const std::vector<evaluate::damage_sums> & sums : e.sums) {
        promised(sums.size() == e.unit_label.size(), "every unit has its sums");
        if (sums.size() < 4) {  // it draws two thousand times
            evaluate::summarize(sums);
        }
    }
    try {
        add_shard(e, evaluate::decode_moeval(bytes, "itself"), "itself");
        promised(e.shards.empty(), "a shard is not added twice");
    } catch (const error &) {
    }
}

void read_report(const std::string & bytes) {
    const report::page_damage d = report::read_damage(fuzz::memory_file(bytes).path());
    for (const report::page_damage::row & r : d.rows) {
        promised(r.cells.size() == d.labels.size() + 1, "every plan has a figure for the whole and for each label");
    }
    report::damage_json(d).dump();  // every text of it is one
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    const std::string bytes = fuzz::text_of(data, size);
    for (void (*use)(const std::string &) : {read_evaluation, read_report}) {
        try {
            use(bytes);
        } catch (const error &) {  // anything else ends the run
        }
    }
    return 0;
}
