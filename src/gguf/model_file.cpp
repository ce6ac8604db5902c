#include "gguf/model_file.hpp"

#include <algorithm>
#include <cstdio>
#include <unordered_set>

#include <fmt/format.h>

#include "core/error.hpp"

namespace moescope::gguf {

std::vector<std::string> split_part_paths(const std::string & path, uint64_t n_split) {
    const std::string first = fmt::format("-{:05}-of-{:05}.gguf", 1, n_split);
    if (path.size() <= first.size() || path.compare(path.size() - first.size(), first.size(), first) != 0) {
        throw error(fmt::format("this is one of {} parts, but its name does not end in {}", n_split, first))
            .in(path)
            .fix("give the first part, under its own name");
    }
    std::vector<std::string> paths;
    const std::string        prefix = path.substr(0, path.size() - first.size());
    for (uint64_t i = 1; i <= n_split; ++i) {
        paths.push_back(fmt::format("{}-{:05}-of-{:05}.gguf", prefix, i, n_split));
    }
    return paths;
}

std::vector<std::string> paths_by_name(const std::string & path) {
    constexpr size_t ending = sizeof("-00001-of-00003.gguf") - 1;
    const size_t     stem   = path.size() > ending ? path.size() - ending : path.size();
    unsigned         part = 0, n_split = 0;
    int              end   = 0;
    const int        found = std::sscanf(path.c_str() + stem, "-%5u-of-%5u.gguf%n", &part, &n_split, &end);
    if (found != 2 || end != int{ending} || n_split == 0) {
        return {path};
    }
    return split_part_paths(path.substr(0, stem) + fmt::format("-{:05}-of-{:05}.gguf", 1, n_split), n_split);
}

std::vector<std::string> model_file::paths() const {
    std::vector<std::string> all;
    for (const part & p : parts_) {
        all.push_back(p.file.path());
    }
    return all;
}

model_metadata model_file::add_part(const std::string & path) {
    io::input_file file(path);
    file_header    header   = read_header(file);
    const auto     problems = find_layout_problems(header, file.size());
    if (!problems.empty()) {
        throw error(problems.front()).in(path).fix("'moescope map --check' lists every such place");
    }
    model_metadata metadata(file, header);
    for (const tensor_info & t : header.tensors) {
        tensors_.push_back({t, parts_.size()});
    }
    parts_.push_back({std::move(file), std::move(header)});
    return metadata;
}

model_file::model_file(const std::string & path) : metadata_(add_part(path)) {
    const uint64_t n_split = metadata_.get_uint("split.count").value_or(1);
    if (n_split > 1) {
        add_further_parts(path, n_split);
    }
}

void model_file::add_further_parts(const std::string & path, uint64_t n_split) {
    if (n_split > 99999) {
        throw error(fmt::format("split.count is {}", n_split)).in(path);
    }
    const std::vector<std::string> paths = split_part_paths(path, n_split);
    for (size_t i = 1; i < paths.size(); ++i) {
        if (add_part(paths[i]).get_uint("split.no") != i) {
            throw error(fmt::format("this is not part {} of the model", i + 1)).in(paths[i]);
        }
    }
    const auto n_tensors = metadata_.get_uint("split.tensors.count");
    if (n_tensors && *n_tensors != tensors_.size()) {
        throw error(fmt::format("the parts hold {} tensors, but {} are expected", tensors_.size(), *n_tensors))
            .in(path);
    }
    std::unordered_set<std::string> seen;
    for (const tensor & t : tensors_) {
        if (!seen.insert(t.name).second) {
            throw error(fmt::format("tensor '{}' occurs in two parts", t.name)).in(parts_[t.part].file.path());
        }
    }
}

const model_file::tensor * model_file::find(const std::string & name) const {
    const auto it = std::find_if(tensors_.begin(), tensors_.end(), [&](const tensor & t) { return t.name == name; });
    return it == tensors_.end() ? nullptr : &*it;
}

std::vector<std::string> check_model_layout(const std::string & path) {
    std::vector<std::string> problems;
    const auto               check = [&](const std::string & part_path) {
        const io::input_file file(part_path);
        const file_header    header = read_header(file);
        for (const std::string & problem : find_layout_problems(header, file.size())) {
            problems.push_back(part_path + ": " + problem);
        }
        const metadata_entry * split = header.find("split.count");
        uint16_t               n     = 1;
        if (split != nullptr && split->type == GGUF_TYPE_UINT16) {
            file.read_at(split->end - sizeof(n), &n, sizeof(n));
        }
        return n;
    };
    const uint16_t n_split = check(path);
    if (n_split > 1) {
        const std::vector<std::string> paths = split_part_paths(path, n_split);
        std::for_each(paths.begin() + 1, paths.end(), check);
    }
    return problems;
}

}  // namespace moescope::gguf
