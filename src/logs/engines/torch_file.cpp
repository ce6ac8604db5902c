#include "logs/engines/torch_file.hpp"

#include "core/error.hpp"

namespace moescope::logs {

namespace {

constexpr char     pickle_name[]  = "data.pkl";
constexpr uint64_t longest_pickle = 256u << 20;  // the numbers of tensors are elsewhere

const io::zip_file::member * find_pickle(const io::zip_file & zip) {
    for (const io::zip_file::member & m : zip.members()) {
        const size_t slash = m.name.find('/');
        if (slash != std::string::npos && m.name.substr(slash + 1) == pickle_name) {
            return &m;
        }
    }
    return nullptr;
}

}  // namespace

bool torch_file::is_one(const io::zip_file & zip) {
    return find_pickle(zip) != nullptr;
}

torch_file::torch_file(const std::string & path) : zip_(path) {
    const io::zip_file::member * m = find_pickle(zip_);
    if (m == nullptr) {
        throw error("the archive holds no pickle, so torch.save did not write it").in(path);
    }
    if (m->size > longest_pickle) {
        throw error("the pickle in it is of " + std::to_string(m->size) + " bytes, which no recorder writes").in(path);
    }
    prefix_ = m->name.substr(0, m->name.size() - (sizeof(pickle_name) - 1));
    try {
        pickle_.emplace(zip_.stored(*m));
    } catch (error & e) {
        if (e.file().empty()) {
            e.in(path + " (" + m->name + ")", e.offset());
        }
        throw;
    }
}

array_view torch_file::tensor(pickle::ref value, const std::string & what) const {
    const pickle::tensor * t = value.as_tensor();
    if (t == nullptr) {
        throw error(what + " is no tensor").in(path());
    }
    const io::zip_file::member * m = zip_.find(prefix_ + "data/" + t->storage);
    if (m == nullptr) {
        throw error(what + ": its numbers are not in the archive").in(path());
    }
    const span<const uint8_t> bytes = zip_.stored(*m);
    const uint64_t            width = number_bytes(t->type);
    if (t->offset > bytes.size() / width) {
        throw error(what + " is longer than its data").in(path());
    }
    try {
        return {
            bytes.data() + t->offset * width, bytes.size() - t->offset * width, t->type, t->shape, t->strides, what};
    } catch (error & e) {
        throw e.in(path());
    }
}

std::optional<double> torch_file::number(pickle::ref value) const {
    if (value.is(pickle::kind::integer) || value.is(pickle::kind::real)) {
        return value.real();
    }
    if (value.as_tensor() != nullptr) {
        const array_view a = tensor(value, "a number");
        if (a.n_elements() == 1) {
            return a.first();
        }
    }
    return std::nullopt;
}

}  // namespace moescope::logs
