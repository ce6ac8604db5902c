// `analyze frequency` of an imatrix that llama-imatrix made, against the closed form of a planted model.

#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "make-model/planted_model.hpp"
#include "make-model/planted_truth.hpp"
#include "support/process.hpp"

namespace {

using namespace moescope::test;
using moescope::make_model::planted_options;
using moescope::make_model::planted_truth;
using nlohmann::json;

constexpr int n_ctx =
    64;  // tokens of a chunk, which llama-imatrix computes whole; what is left of the text it leaves out

class imatrix_test : public testing::Test {
protected:
    static planted_options shape() {
        planted_options o;
        o.n_expert      = 16;
        o.n_expert_used = 2;
        return o;
    }
    void SetUp() override {
        model_   = scratch_ / "planted.gguf";
        imatrix_ = scratch_ / "imatrix.gguf";
        moescope::make_model::write_planted_model(model_, truth_);
    }

    // Runs llama-imatrix over a text, whose tokens are its bytes.
    void calibrate(const std::string & text) {
        std::ofstream(scratch_ / "text.txt", std::ios::binary) << text;
        const int code = run({llama_program("llama-imatrix"), "-m", model_, "-f", scratch_ / "text.txt", "-o", imatrix_,
                              "-c", std::to_string(n_ctx), "-b", std::to_string(n_ctx), "-t", "1"},
                             scratch_ / "out", scratch_ / "err");
        ASSERT_EQ(code, 0) << read_file(scratch_ / "err");
    }
    json frequency(const std::vector<std::string> & options = {}) {
        std::vector<std::string> command = {moescope_bin(), "analyze", "frequency", imatrix_, "--json"};
        command.insert(command.end(), options.begin(), options.end());
        const int code = run(command, scratch_ / "answer", scratch_ / "err");
        EXPECT_EQ(code, 0) << read_file(scratch_ / "err");
        return json::parse(read_file(scratch_ / "answer"));
    }
    // [layer][expert], of the tokens that llama-imatrix computes.
    std::vector<std::vector<uint64_t>> expected(const std::string & text) const {
        std::vector<std::vector<uint64_t>> counts(shape().n_layer, std::vector<uint64_t>(shape().n_expert));
        for (size_t i = 0; i < text.size() / n_ctx * n_ctx; ++i) {
            for (uint32_t il = 0; il < shape().n_layer; ++il) {
                for (const int e : truth_.ids(il, static_cast<unsigned char>(text[i]))) {
                    counts[il][static_cast<size_t>(e)] += 1;
                }
            }
        }
        return counts;
    }
    void expect_counts(const json & answer, const std::string & text) {
        const auto counts = expected(text);
        ASSERT_EQ(answer["experts"].size(), size_t{shape().n_layer} * shape().n_expert);
        for (const json & e : answer["experts"]) {
            EXPECT_EQ(e["count"].get<uint64_t>(), counts.at(e["layer"].get<size_t>()).at(e["expert"].get<size_t>()))
                << "layer " << e["layer"] << ", expert " << e["expert"];
        }
    }

    planted_truth  truth_{shape()};
    scratch_folder scratch_;
    std::string    model_, imatrix_;
};

TEST_F(imatrix_test, counts_are_the_closed_form) {
    std::string text;
    for (int i = 0; i < 1000; ++i) {
        text += static_cast<char>(' ' + (i * i + i / 7) % 95);
    }
    calibrate(text);
    const json answer = frequency();
    expect_counts(answer, text);
    for (const json & layer : answer["layers"]) {  // k from the rows of the router
        EXPECT_EQ(layer["n_expert_used"], shape().n_expert_used);
        EXPECT_EQ(layer["rows"], 1000 / n_ctx * n_ctx);
    }
}

// A text of few different characters leaves most experts without calibration: each must be named.
TEST_F(imatrix_test, names_the_experts_that_calibration_hardly_saw) {
    std::string text;
    for (int i = 0; i < 512; ++i) {
        text += i % 100 == 0 ? 'x' : "ab"[i % 2];
    }
    calibrate(text);
    const json         answer = frequency({"--layers", "1"});
    const auto         counts = expected(text)[1];
    std::set<uint64_t> hardly, named;
    for (uint64_t e = 0; e < counts.size(); ++e) {
        if (double(counts[e]) < 0.1 * 512 * shape().n_expert_used / shape().n_expert) {
            hardly.insert(e);
        }
    }
    for (const json & row : answer["hardly_used"]) {
        named.insert(row["expert"].get<uint64_t>());
    }
    EXPECT_EQ(named, hardly);
    EXPECT_GE(hardly.size(), shape().n_expert - 6);  // two characters select four experts; the rare third two more
    std::string notes;
    for (const json & n : answer["notes"]) {
        notes += n.get<std::string>() + "\n";
    }
    EXPECT_NE(notes.find("hardly saw"), std::string::npos) << notes;
}

}  // namespace
