// make-model: GGUF models for tests and benches. See tools/make-model/README.md.

#include "core/error.hpp"
#include "llama.h"
#include "make-model/lora.hpp"
#include "make-model/planted_model.hpp"
#include "make-model/variants.hpp"

#include <CLI/CLI.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <exception>

namespace {

using namespace moescope::make_model;

struct arguments {
    std::string     output, type = "f32";
    random_options  random;
    planted_options planted;
    std::string     truth;
    std::string     variant, base;
    lora_options    lora;
};

void add_random(CLI::App & app, arguments & a) {
    CLI::App *    cmd = app.add_subcommand("random", "random weights, any architecture");
    model_shape & s   = a.random.shape;
    cmd->add_option("--arch", s.arch, "architecture, as llama.cpp names it")->capture_default_str();
    cmd->add_option("--experts", s.n_expert, "experts per layer; 0 for a dense model")->capture_default_str();
    cmd->add_option("--top-k", s.n_expert_used, "experts per token")->capture_default_str();
    cmd->add_option("--layers", s.n_layer, "layers (default: the fewest that show all kinds the architecture has)");
    cmd->add_option("--width", s.n_embd, "width of the residual stream (default: 256 in most architectures)");
    cmd->add_option(
        "--expert-width", s.n_ff_exp,
        "hidden width of an expert, where the architecture tells it from --ff-width (default: half the width)");
    cmd->add_option("--ff-width", s.n_ff, "hidden width of dense feed-forward blocks (default: the width)");
    cmd->add_option("--vocab", s.n_vocab, "tokens (default: 260, the byte-level vocabulary)");
    cmd->add_option("--context", s.n_ctx, "context length the model claims")->capture_default_str();
    cmd->add_option("--groups", s.n_expert_groups, "expert groups (where the architecture routes by group)");
    cmd->add_option("--groups-used", s.n_expert_groups_used, "groups a token may use");
    cmd->add_option("--experts-per-group", s.n_experts_per_group, "GroveMoE: experts per adjugate expert");
    cmd->add_option("--nextn", s.n_layer_nextn, "MTP blocks behind the last layer");
    cmd->add_option("--hash-layers", s.n_hash_layers, "deepseek4: layers that route by token id");
    cmd->add_option("--type", a.type, "type of the matrices: f32, f16, q8_0, q4_0, …")->capture_default_str();
    cmd->add_option("--seed", a.random.seed, "seed of the weights")->capture_default_str();
    cmd->add_flag("--biases", a.random.layout.biases, "keep the biases that llama.cpp treats as optional");
    cmd->add_flag("--scales", a.random.layout.scales,
                  "keep the optional scales, one per expert where there are experts");
    cmd->add_flag("--fused", a.random.layout.fused_gate_up, "gate and up experts in one tensor");
    cmd->add_option("-o,--output", a.output, "file to write")->required();
    cmd->callback([&a] {
        a.random.type = parse_type(a.type);
        write_random_model(a.output, a.random);
    });
}

void write_truth(const std::string & path, const planted_truth & truth) {
    nlohmann::json layers;
    for (uint32_t il = 0; il < truth.options().n_layer; il++) {
        for (int32_t t = 0; t < static_cast<int32_t>(truth.options().n_vocab); t++) {
            layers[il][static_cast<size_t>(t)] = {
                {"ids", truth.ids(il, t)}, {"weights", truth.weights(il, t)}, {"norms", truth.norms(il, t)}};
        }
    }
    std::ofstream(path) << nlohmann::json{{"layers", layers}};
}

void add_planted(CLI::App & app, arguments & a) {
    CLI::App * cmd      = app.add_subcommand("planted", "routing, gate weights and expert norms known in closed form");
    planted_options & o = a.planted;
    cmd->add_option("--arch", o.arch, "architecture")
        ->check(CLI::IsMember(planted_architectures()))
        ->capture_default_str();
    cmd->add_option("--experts", o.n_expert, "experts per layer")->capture_default_str();
    cmd->add_option("--top-k", o.n_expert_used, "experts per token")->capture_default_str();
    cmd->add_option("--layers", o.n_layer, "layers")->capture_default_str();
    cmd->add_option("--width", o.n_embd, "width of the residual stream")->capture_default_str();
    cmd->add_option("--expert-width", o.n_ff_exp, "hidden width of an expert")->capture_default_str();
    cmd->add_option("--vocab", o.n_vocab, "tokens")->capture_default_str();
    cmd->add_option("--seed", o.seed, "seed of the planting")->capture_default_str();
    cmd->add_option("-o,--output", a.output, "file to write")->required();
    cmd->add_option("--truth", a.truth,
                    "also write the closed form as JSON: layers[layer][token] = ids, weights, norms");
    cmd->callback([&a] {
        const planted_truth truth(a.planted);
        write_planted_model(a.output, truth);
        if (!a.truth.empty()) {
            write_truth(a.truth, truth);
        }
    });
}

void add_variant(CLI::App & app, arguments & a) {
    CLI::App * cmd = app.add_subcommand("variant", "one of the named variants (--list-variants)");
    cmd->add_option("name", a.variant, "its name")->required();
    cmd->add_option("-o,--output", a.output, "file to write")->required();
    cmd->callback([&a] { write_random_model(a.output, find_variant(a.variant).options); });
}

void add_lora(CLI::App & app, arguments & a) {
    CLI::App * cmd = app.add_subcommand("lora", "a LoRA adapter on the experts and routers of a model");
    cmd->add_option("--base", a.base, "the model it is for")->required()->check(CLI::ExistingFile);
    cmd->add_option("--rank", a.lora.rank, "rank")->check(CLI::PositiveNumber)->capture_default_str();
    cmd->add_option("--alpha", a.lora.alpha, "its scale is alpha / rank")->capture_default_str();
    cmd->add_option("--seed", a.lora.seed, "seed of the factors")->capture_default_str();
    cmd->add_option("-o,--output", a.output, "file to write")->required();
    cmd->callback([&a] { write_lora(a.output, a.base, a.lora); });
}

void print_variant(const variant & v) {
    std::printf("%-26s %s: %s\n", v.name.c_str(), v.options.shape.arch.c_str(), v.what.c_str());
}

void list_variants() {
    for (const variant & v : variants()) {
        print_variant(v);
    }
    print_variant(bench_model());
}

void list_architectures() {
    for (const std::string & arch : moe_architectures()) {
        std::printf("%s\n", arch.c_str());
    }
}

int run(int argc, char ** argv) {
    CLI::App  app("Writes GGUF models for tests and benches, through llama.cpp's own idea of each architecture.",
                  "make-model");
    arguments a;
    bool      list_archs = false, list_vars = false;
    app.require_subcommand(0, 1);
    app.add_flag("--list-archs", list_archs, "architectures that have experts, one per line");
    app.add_flag("--list-variants", list_vars, "names of the variants, with what they have");
    add_random(app, a);
    add_variant(app, a);
    add_planted(app, a);
    add_lora(app, a);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success & help) {
        return app.exit(help);
    } catch (const CLI::ParseError & wrong) {
        std::fprintf(stderr, "make-model: %s\n", wrong.what());
        return 2;
    }
    if (list_archs) {
        list_architectures();
    } else if (list_vars) {
        list_variants();
    } else if (app.get_subcommands().empty()) {
        std::fprintf(stderr, "make-model: nothing to make; see make-model --help\n");
        return 2;
    }
    return 0;
}

}  // namespace

int main(int argc, char ** argv) {
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    try {
        return run(argc, argv);
    } catch (const moescope::usage_error & wrong) {
        std::fprintf(stderr, "make-model: %s\n", wrong.what());
        return 2;
    } catch (const std::exception & failure) {
        std::fprintf(stderr, "make-model: %s\n", failure.what());
        return 1;
    }
}
