#include "evaluate/plan.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "core/error.hpp"
#include "gguf/model_file.hpp"
#include "gguf/router_shapes.hpp"
#include "io/path.hpp"
#include "prune/expert_choice.hpp"
#include "prune/load_scores.hpp"
#include "prune/plan.hpp"
#include "stats/moestats.hpp"

namespace moescope::evaluate {

namespace {

constexpr const char * kind_names[] = {"mask", "keep_ids", "criterion", "expert", "against"};

// The routers that compute text: without those of MTP blocks, which draft.
std::vector<router_shape> text_routers(const gguf::model_file & model) {
    const gguf::moe_shape     shape   = gguf::read_moe_shape(model.metadata());
    std::vector<router_shape> routers = gguf::router_shapes(model);
    routers.erase(
        std::remove_if(routers.begin(), routers.end(), [&](const router_shape & r) { return shape.is_mtp(r.layer); }),
        routers.end());
    if (routers.empty()) {
        throw error("no MoE layers: nothing to leave out").in(model.path());
    }
    return routers;
}

class plan_maker {
public:
    explicit plan_maker(const plan_request & r) : request_(r), model_(r.model), routers_(text_routers(model_)) {}

    std::vector<plan> make() {
        if (!request_.mask.empty()) {
            add_mask();
        }
        for (const std::string & file : request_.keep_ids) {
            add_keep_ids(file);
        }
        add_sweep();
        if (request_.each) {
            add_each();
        }
        return std::move(plans_);
    }

private:
    void add(plan p) {
        p.mask.check(routers_);
        for (const router_shape & r : routers_) {
            const std::vector<float> biases = p.mask.biases(r.layer, r.n_expert);
            const auto               gone   = std::count(biases.begin(), biases.end(), expert_mask::omitted);
            p.omitted_share += double(gone) / r.n_expert / double(routers_.size());
        }
        plans_.push_back(std::move(p));
    }

    void add_mask() {
        plan p;
        p.name = request_.mask.to_text();
        p.mask = request_.mask;
        add(std::move(p));
    }

    // What prune would leave, as a mask.
    void add_pruned(plan p, const prune::prune_request & request) {
        const prune::prune_plan pruned = prune::plan_prune(model_, request);
        for (const router_shape & r : routers_) {
            const auto layer = pruned.layers.find(r.layer);
            if (layer == pruned.layers.end()) {
                continue;
            }
            for (const int32_t id : layer->second.kept) {
                p.mask.keep_only(r.layer, id, id);
            }
        }
        p.n_keep = static_cast<int32_t>(pruned.n_keep);
        add(std::move(p));
    }

    void add_keep_ids(const std::string & file) {
        prune::prune_request request;
        request.criterion = prune::prune_criterion::ids;
        request.keep_ids  = prune::read_expert_ids(file);
        plan p;
        p.kind = plan_kind::keep_ids;
        p.name = io::base_name(file);
        add_pruned(std::move(p), request);
    }

    prune::expert_scores scores(prune::prune_criterion criterion, uint32_t n_keep) const {
        prune::score_request r;
        r.criterion = criterion;
        r.shape     = gguf::read_moe_shape(model_.metadata());
        r.n_keep    = n_keep;
        if (!request_.balance.empty()) {
            r.balance = prune::parse_balance(request_.balance);
        } else if (request_.sums) {
            r.balance = prune::default_balance(*request_.sums, criterion);
        } else if (stats::is_moestats(request_.stats)) {
            r.balance = prune::default_balance(stats::read_moestats(request_.stats), criterion);
        }
        if (criterion == prune::prune_criterion::hope) {
            prune::check_expert_count(r.shape, n_keep);
        }
        return request_.sums ? prune::scores_of_profile(*request_.sums, request_.stats, r)
                             : prune::load_scores(request_.stats, r);
    }

    void add_sweep() {
        for (const std::string & name : request_.criteria) {
            prune::prune_request request;
            request.criterion = prune::parse_criterion(name);
            request.seed      = request_.seed;
            if (request.criterion == prune::prune_criterion::ids) {
                throw usage_error("--criterion ids is --keep-ids FILE here");
            }
            if (request.criterion != prune::prune_criterion::random) {
                if (request_.stats.empty()) {
                    throw usage_error("--criterion " + name + " needs --stats FILE").fix("moescope profile makes one");
                }
            }
            for (const uint32_t keep : request_.keep) {
                request.n_keep = keep;
                if (request.criterion != prune::prune_criterion::random) {
                    request.scores = scores(request.criterion, keep);
                }
                plan p;
                p.kind      = plan_kind::criterion;
                p.criterion = name;
                p.name      = fmt::format("{}, {} kept", name, keep);
                add_pruned(std::move(p), request);
            }
        }
    }

    void add_each() {
        const layer_filter layers(request_.layers);
        const size_t       before = plans_.size();
        for (const router_shape & r : routers_) {
            for (int32_t e = 0; layers.has(r.layer) && e < static_cast<int32_t>(r.n_expert); ++e) {
                plan p;
                p.kind   = plan_kind::expert;
                p.name   = fmt::format("{}/{}", r.layer, e);
                p.layer  = r.layer;
                p.expert = e;
                p.mask.omit(r.layer, e);
                add(std::move(p));
            }
        }
        if (plans_.size() == before) {
            throw usage_error("--layers " + request_.layers + " names no layer with experts");
        }
    }

    const plan_request &      request_;
    gguf::model_file          model_;
    std::vector<router_shape> routers_;
    std::vector<plan>         plans_;
};

bool changes_routing(const plan_request & r) {
    return !r.mask.empty() || !r.keep_ids.empty() || !r.criteria.empty() || r.each;
}

void check_request(const plan_request & r) {
    if (!r.against.empty() && changes_routing(r)) {
        throw usage_error("--against compares two files: it goes with no other plan");
    }
    if (r.against.empty() && !changes_routing(r)) {
        throw usage_error("nothing to evaluate")
            .fix("give --omit, --only, --router-bias, --keep-ids, --criterion with --keep, --each, or --against");
    }
    if (r.criteria.empty() != r.keep.empty()) {
        throw usage_error("--criterion and --keep belong together");
    }
    if (!r.stats.empty() && r.criteria.empty()) {
        throw usage_error("--stats needs --criterion and --keep");
    }
    if (!r.layers.empty() && !r.each) {
        throw usage_error("--layers belongs to --each");
    }
}

}  // namespace

const char * to_string(plan_kind k) {
    return kind_names[static_cast<size_t>(k)];
}

plan_kind parse_plan_kind(const std::string & text) {
    const auto at = std::find(std::begin(kind_names), std::end(kind_names), text);
    if (at == std::end(kind_names)) {
        throw error("'" + text + "' is no kind of plan");
    }
    return static_cast<plan_kind>(at - std::begin(kind_names));
}

std::vector<plan> make_plans(const plan_request & r) {
    check_request(r);
    if (!r.against.empty()) {
        plan p;
        p.kind = plan_kind::against;
        p.name = io::base_name(r.against);
        return {p};
    }
    return plan_maker(r).make();
}

}  // namespace moescope::evaluate
