#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/span.hpp"
#include "logs/arrays/array_view.hpp"

namespace moescope::logs {

// What torch.save pickles, read without executing anything: numbers, texts, lists, tuples, dicts, and tensors, of which a
// pickle has type, shape and the name of the storage. Any other name that a pickle asks for (a GLOBAL) is refused with
// its name: Python would import and call it.
//
// Values lie in one array and refer to each other by number, so that nothing recurses and a value may contain itself.
class pickle {
public:
    enum class kind : uint8_t { none, boolean, integer, real, text, sequence, dict, tensor, storage, global };

    struct tensor {
        std::string           storage;  // "0": the member data/0 of the archive
        number_type           type   = number_type::f32;
        uint64_t              offset = 0;  // in elements
        std::vector<uint64_t> shape, strides;
    };

    // One value. Readers that ask for what is not there get none.
    class ref {
    public:
        ref() = default;
        ref(const pickle * owner, uint32_t number) : owner_(owner), number_(number) {}

        kind             what() const;
        bool             is(kind k) const { return what() == k; }
        int64_t          integer() const;      // of an integer or a boolean, else 0
        double           real() const;         // of any number, else 0
        std::string_view text() const;         // of a text, else ""
        size_t           size() const;         // elements of a sequence, pairs of a dict, else 0
        ref              at(size_t i) const;   // of a sequence; the value of a dict's i-th pair
        ref              key(size_t i) const;  // of a dict's i-th pair
        ref              find(std::string_view key) const;
        const tensor *   as_tensor() const;  // null where it is none

    private:
        const pickle * owner_  = nullptr;
        uint32_t       number_ = 0;
    };

    // The bytes must outlive this object. Throws error with the offset in them, naming what is not understood.
    explicit pickle(span<const uint8_t> bytes);

    ref root() const { return {this, root_}; }

private:
    friend class pickle_machine;

    struct value {
        kind     what   = kind::none;
        uint32_t length = 0;  // of a text
        union {
            int64_t      integer;
            double       real;
            const char * text;
            uint64_t     index;  // into lists_, tensors_, storages_, globals_
        };
        value() : integer(0) {}
    };

    std::vector<value>                 values_;
    std::vector<std::vector<uint32_t>> lists_;  // elements; key, value, key, value, … of a dict
    std::vector<tensor>                tensors_;
    uint32_t                           root_ = 0;
};

}  // namespace moescope::logs
