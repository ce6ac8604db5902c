#pragma once

#include "logs/arrays/pickle.hpp"

namespace moescope::logs {

// Runs the opcodes of a pickle (protocols 2 to 5) that data alone needs. Python's pickletools documents them.
class pickle_machine {
public:
    pickle_machine(pickle & to, span<const uint8_t> bytes) : to_(to), bytes_(bytes) {}

    uint32_t run();  // the number of the root

private:
    using kind = pickle::kind;

    bool step(uint8_t opcode);  // false: the end
    bool push_number(uint8_t opcode);
    bool push_text(uint8_t opcode);
    bool build(uint8_t opcode);
    bool remember(uint8_t opcode);

    // Reading the bytes.
    const uint8_t * take(uint64_t n);
    template <class T>
    T           little();
    double      big_endian_double();
    std::string line();
    int64_t     long_integer(uint64_t n_bytes);

    // The stack.
    uint32_t              add(pickle::value v);
    uint32_t              add_list(kind what, std::vector<uint32_t> elements);
    void                  push(uint32_t value) { stack_.push_back(value); }
    uint32_t              pop();
    uint32_t              top();
    std::vector<uint32_t> pop_to_mark();
    void                  append(const std::vector<uint32_t> & elements, kind to);

    // What torch's pickles ask for by name.
    void global(const std::string & module, const std::string & name);
    void persistent();
    void reduce();
    void tensor(uint32_t arguments, bool with_type);

    std::vector<uint64_t> sizes_of(pickle::ref tuple);
    pickle::ref           ref(uint32_t value) const { return {&to_, value}; }

    [[noreturn]] void fail(const std::string & what) const;

    struct storage {
        std::string key;
        number_type type;
        bool        typed;  // false: bytes, whose type the tensor names
    };

    pickle &                               to_;
    span<const uint8_t>                    bytes_;
    uint64_t                               at_ = 0;
    std::vector<uint32_t>                  stack_;
    std::vector<size_t>                    marks_;  // sizes of the stack
    std::unordered_map<uint32_t, uint32_t> memo_;
    std::vector<storage>                   storages_;
    std::vector<std::string>               globals_;
};

}  // namespace moescope::logs
