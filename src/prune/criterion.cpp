#include "prune/criterion.hpp"

#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "core/error.hpp"

namespace moescope::prune {

namespace {

constexpr std::pair<prune_criterion, const char *> criteria[] = {
    {prune_criterion::removal, "removal"},   {prune_criterion::reap, "reap"},
    {prune_criterion::man, "man"},           {prune_criterion::msan, "msan"},
    {prune_criterion::reap_sum, "reap-sum"}, {prune_criterion::ean_sum, "ean-sum"},
    {prune_criterion::seer, "seer"},         {prune_criterion::easy_ep, "easy-ep"},
    {prune_criterion::hope, "hope"},         {prune_criterion::frequency, "frequency"},
    {prune_criterion::gate, "gate"},         {prune_criterion::weighted_frequency, "weighted-frequency"},
    {prune_criterion::random, "random"},     {prune_criterion::ids, "ids"},
};

constexpr std::pair<label_balance, const char *> balances[] = {
    {label_balance::rows, "rows"},
    {label_balance::labels, "labels"},
    {label_balance::worst, "worst"},
};

template <class Table, class Value>
const char * name_in(const Table & table, Value wanted) {
    for (const auto & [value, name] : table) {
        if (value == wanted) {
            return name;
        }
    }
    return "?";
}

template <class Table>
auto find_name(const Table & table, const std::string & name, const char * what, const char * plural) {
    std::string names;
    for (const auto & [value, known] : table) {
        if (name == known) {
            return value;
        }
        names += (names.empty() ? "" : ", ") + std::string(known);
    }
    throw usage_error(fmt::format("unknown {} '{}'", what, name)).fix(fmt::format("the {} are {}", plural, names));
}

}  // namespace

const char * criterion_name(prune_criterion criterion) {
    return name_in(criteria, criterion);
}

prune_criterion parse_criterion(const std::string & name) {
    return find_name(criteria, name == "ean" ? "man" : name, "criterion", "criteria");
}

std::vector<prune_criterion> criteria_of_profiles() {
    return {prune_criterion::removal,  prune_criterion::reap,     prune_criterion::man,  prune_criterion::msan,
            prune_criterion::reap_sum, prune_criterion::ean_sum,  prune_criterion::seer, prune_criterion::easy_ep,
            prune_criterion::hope,     prune_criterion::frequency};
}

label_balance parse_balance(const std::string & name) {
    return find_name(balances, name, "balance", "balances");
}

const char * balance_name(label_balance b) {
    return name_in(balances, b);
}

}  // namespace moescope::prune
