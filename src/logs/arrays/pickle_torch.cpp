// The names that torch's pickles ask for, and what moescope makes of them: tensors, and nothing else.

#include <algorithm>

#include "core/error.hpp"
#include "logs/arrays/pickle_machine.hpp"

namespace moescope::logs {

namespace {

struct named_type {
    const char * name;
    number_type  type;
};
constexpr named_type storage_types[] = {
    {"torch.BoolStorage", number_type::boolean}, {"torch.CharStorage", number_type::i8},
    {"torch.ByteStorage", number_type::u8},      {"torch.ShortStorage", number_type::i16},
    {"torch.IntStorage", number_type::i32},      {"torch.LongStorage", number_type::i64},
    {"torch.HalfStorage", number_type::f16},     {"torch.BFloat16Storage", number_type::bf16},
    {"torch.FloatStorage", number_type::f32},    {"torch.DoubleStorage", number_type::f64},
};
constexpr named_type element_types[] = {
    {"torch.bool", number_type::boolean}, {"torch.int8", number_type::i8},       {"torch.uint8", number_type::u8},
    {"torch.int16", number_type::i16},    {"torch.uint16", number_type::u16},    {"torch.int32", number_type::i32},
    {"torch.uint32", number_type::u32},   {"torch.int64", number_type::i64},     {"torch.uint64", number_type::u64},
    {"torch.float16", number_type::f16},  {"torch.bfloat16", number_type::bf16}, {"torch.float32", number_type::f32},
    {"torch.float64", number_type::f64},
};
constexpr const char * other_names[] = {
    "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3", "torch.storage.UntypedStorage", "torch.Size",
    "collections.OrderedDict",
};

template <size_t n>
const named_type * find_type(const named_type (&types)[n], const std::string & name) {
    const auto it = std::find_if(types, types + n, [&](const named_type & t) { return name == t.name; });
    return it == types + n ? nullptr : it;
}

bool is_known(const std::string & name) {
    return find_type(storage_types, name) != nullptr || find_type(element_types, name) != nullptr ||
           std::find(std::begin(other_names), std::end(other_names), name) != std::end(other_names);
}

}  // namespace

void pickle_machine::global(const std::string & module, const std::string & name) {
    const std::string whole = module + "." + name;
    if (!is_known(whole)) {
        fail("the pickle asks for " + whole.substr(0, 100) + ", which is no data; nothing was executed");
    }
    pickle::value v;
    v.what  = kind::global;
    v.index = globals_.size();
    globals_.push_back(whole);
    push(add(v));
}

// ('storage', torch.FloatStorage, '0', 'cpu', 12): a tensor's numbers, in another member of the archive.
void pickle_machine::persistent() {
    const uint32_t    number = pop();
    const pickle::ref id     = ref(number);
    if (!id.is(kind::sequence) || id.size() < 5 || id.at(0).text() != "storage" || !id.at(1).is(kind::global) ||
        !id.at(2).is(kind::text)) {
        fail("the pickle refers to something that is no tensor's storage");
    }
    const std::string & name = globals_[to_.values_[to_.lists_[to_.values_[number].index][1]].index];
    const named_type *  type = find_type(storage_types, name);
    if (type == nullptr && name != "torch.storage.UntypedStorage") {
        fail("the pickle refers to a storage of " + name);
    }
    pickle::value v;
    v.what  = kind::storage;
    v.index = storages_.size();
    storages_.push_back(
        {std::string(id.at(2).text()), type == nullptr ? number_type::u8 : type->type, type != nullptr});
    push(add(v));
}

void pickle_machine::reduce() {
    const uint32_t        arguments = pop(), callee = pop();
    const pickle::value & f = to_.values_[callee];
    if (f.what != kind::global || !ref(arguments).is(kind::sequence)) {
        fail("the pickle calls what is no function");
    }
    const std::string name = globals_[f.index];
    if (name == "torch._utils._rebuild_tensor_v2" || name == "torch._utils._rebuild_tensor_v3") {
        tensor(arguments, name.back() == '3');
    } else if (name == "torch.Size" && ref(arguments).size() == 1 && ref(arguments).at(0).is(kind::sequence)) {
        push(to_.lists_[to_.values_[arguments].index][0]);
    } else if (name == "collections.OrderedDict" && ref(arguments).size() == 0) {
        push(add_list(kind::dict, {}));
    } else {
        fail("the pickle calls " + name + " in a way that is not known; nothing was executed");
    }
}

std::vector<uint64_t> pickle_machine::sizes_of(pickle::ref tuple) {
    std::vector<uint64_t> sizes;
    for (size_t i = 0; i < tuple.size(); ++i) {
        const pickle::ref n = tuple.at(i);
        if (!n.is(kind::integer) || n.integer() < 0 || sizes.size() == 8) {
            fail("a tensor has a shape that cannot be");
        }
        sizes.push_back(static_cast<uint64_t>(n.integer()));
    }
    return sizes;
}

// (storage, offset, shape, strides, requires_grad, hooks[, dtype])
void pickle_machine::tensor(uint32_t arguments, bool with_type) {
    const pickle::ref a = ref(arguments);
    if (a.size() < 6 || !a.at(0).is(kind::storage) || !a.at(1).is(kind::integer) || a.at(1).integer() < 0) {
        fail("a tensor is described in a way that is not known");
    }
    const std::vector<uint32_t> & list = to_.lists_[to_.values_[arguments].index];
    const storage &               from = storages_[to_.values_[list[0]].index];
    pickle::tensor                t;
    t.storage = from.key;
    t.type    = from.type;
    t.offset  = static_cast<uint64_t>(a.at(1).integer());
    t.shape   = sizes_of(a.at(2));
    t.strides = sizes_of(a.at(3));
    if (with_type) {
        const named_type * type =
            a.at(6).is(kind::global) ? find_type(element_types, globals_[to_.values_[list[6]].index]) : nullptr;
        if (type == nullptr) {
            fail("a tensor is of a type that is not known");
        }
        t.type = type->type;
    } else if (!from.typed) {
        fail("a tensor does not say of which type it is");
    }
    pickle::value v;
    v.what  = kind::tensor;
    v.index = to_.tensors_.size();
    to_.tensors_.push_back(std::move(t));
    push(add(v));
}

}  // namespace moescope::logs
