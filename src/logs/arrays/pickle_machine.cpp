#include "logs/arrays/pickle_machine.hpp"

#include <cstring>

#include "core/error.hpp"

namespace moescope::logs {

namespace {

enum opcode : uint8_t {
    MARK             = '(',
    STOP             = '.',
    POP              = '0',
    BINFLOAT         = 'G',
    BININT           = 'J',
    BININT1          = 'K',
    BININT2          = 'M',
    NONE             = 'N',
    BINPERSID        = 'Q',
    REDUCE           = 'R',
    BINUNICODE       = 'X',
    APPEND           = 'a',
    GLOBAL           = 'c',
    APPENDS          = 'e',
    BINGET           = 'h',
    LONG_BINGET      = 'j',
    EMPTY_LIST       = ']',
    BINPUT           = 'q',
    LONG_BINPUT      = 'r',
    SETITEM          = 's',
    TUPLE            = 't',
    EMPTY_TUPLE      = ')',
    SETITEMS         = 'u',
    EMPTY_DICT       = '}',
    LIST             = 'l',
    PROTO            = 0x80,
    TUPLE1           = 0x85,
    TUPLE2           = 0x86,
    TUPLE3           = 0x87,
    NEWTRUE          = 0x88,
    NEWFALSE         = 0x89,
    LONG1            = 0x8a,
    LONG4            = 0x8b,
    SHORT_BINUNICODE = 0x8c,
    BINUNICODE8      = 0x8d,
    STACK_GLOBAL     = 0x93,
    MEMOIZE          = 0x94,
    FRAME            = 0x95,
};

// A few bytes can ask for a value or a list each; more than these no recorder writes.
constexpr size_t most_values = 32u << 20, most_lists = 2u << 20;

}  // namespace

void pickle_machine::fail(const std::string & what) const {
    throw error(what).in({}, static_cast<int64_t>(at_));
}

uint32_t pickle_machine::run() {
    while (step(*take(1))) {
    }
    if (stack_.size() != 1 || !marks_.empty()) {
        fail("the pickle does not end with one value");
    }
    return stack_.back();
}

bool pickle_machine::step(uint8_t code) {
    if (code == STOP) {
        return false;
    }
    if (!push_number(code) && !push_text(code) && !build(code) && !remember(code)) {
        at_ -= 1;
        fail("the pickle does more than hold data (opcode " + std::to_string(code) + ")");
    }
    return true;
}

// ---- reading the bytes ---------------------------------------------------------------------------------------------

const uint8_t * pickle_machine::take(uint64_t n) {
    if (n > bytes_.size() - at_) {
        fail("the pickle ends early");
    }
    at_ += n;
    return bytes_.data() + at_ - n;
}

template <class T>
T pickle_machine::little() {
    T v;
    std::memcpy(&v, take(sizeof(T)), sizeof(T));
    return v;
}

double pickle_machine::big_endian_double() {
    const uint8_t * p    = take(8);
    uint64_t        bits = 0;
    for (int i = 0; i < 8; ++i) {
        bits = bits << 8 | p[i];
    }
    double v;
    std::memcpy(&v, &bits, sizeof(v));
    return v;
}

std::string pickle_machine::line() {
    std::string text;
    for (char c; (c = static_cast<char>(*take(1))) != '\n';) {
        text += c;
    }
    return text;
}

int64_t pickle_machine::long_integer(uint64_t n) {
    const uint8_t * p = take(n);
    if (n > 8) {
        fail("a number is too large");
    }
    uint64_t bits = n > 0 && (p[n - 1] & 0x80) != 0 ? ~uint64_t{0} : 0;  // two's complement, as long as it needs be
    for (uint64_t i = n; i-- > 0;) {
        bits = bits << 8 | p[i];
    }
    return static_cast<int64_t>(bits);
}

// ---- the stack -----------------------------------------------------------------------------------------------------

uint32_t pickle_machine::add(pickle::value v) {
    if (to_.values_.size() == most_values) {
        fail("the pickle holds too many values");
    }
    to_.values_.push_back(v);
    return static_cast<uint32_t>(to_.values_.size() - 1);
}

uint32_t pickle_machine::add_list(kind what, std::vector<uint32_t> elements) {
    if (to_.lists_.size() == most_lists) {
        fail("the pickle holds too many lists");
    }
    pickle::value v;
    v.what  = what;
    v.index = to_.lists_.size();
    to_.lists_.push_back(std::move(elements));
    return add(v);
}

uint32_t pickle_machine::top() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) {
        fail("the pickle takes a value that is not there");
    }
    return stack_.back();
}

uint32_t pickle_machine::pop() {
    const uint32_t value = top();
    stack_.pop_back();
    return value;
}

std::vector<uint32_t> pickle_machine::pop_to_mark() {
    if (marks_.empty()) {
        fail("the pickle ends a list that it did not begin");
    }
    const auto                  first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    const std::vector<uint32_t> elements(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return elements;
}

void pickle_machine::append(const std::vector<uint32_t> & elements, kind what) {
    const pickle::value & to = to_.values_[top()];
    if (to.what != what || (what == kind::dict && elements.size() % 2 != 0)) {
        fail("the pickle adds to what is no " + std::string(what == kind::dict ? "dict" : "list"));
    }
    std::vector<uint32_t> & list = to_.lists_[to.index];
    list.insert(list.end(), elements.begin(), elements.end());
}

// ---- opcodes -------------------------------------------------------------------------------------------------------

bool pickle_machine::push_number(uint8_t code) {
    pickle::value v;
    v.what = kind::integer;
    switch (code) {
        case BININT: v.integer = little<int32_t>(); break;
        case BININT1: v.integer = little<uint8_t>(); break;
        case BININT2: v.integer = little<uint16_t>(); break;
        case LONG1: v.integer = long_integer(little<uint8_t>()); break;
        case LONG4: v.integer = long_integer(little<uint32_t>()); break;
        case NONE: v.what = kind::none; break;
        case NEWTRUE:
        case NEWFALSE:
            v.what    = kind::boolean;
            v.integer = code == NEWTRUE;
            break;
        case BINFLOAT:
            v.what = kind::real;
            v.real = big_endian_double();
            break;
        default: return false;
    }
    push(add(v));
    return true;
}

bool pickle_machine::push_text(uint8_t code) {
    uint64_t n;
    switch (code) {
        case SHORT_BINUNICODE: n = little<uint8_t>(); break;
        case BINUNICODE: n = little<uint32_t>(); break;
        case BINUNICODE8: n = little<uint64_t>(); break;
        default: return false;
    }
    pickle::value v;
    v.what = kind::text;
    v.text = reinterpret_cast<const char *>(take(n));
    if (n > UINT32_MAX) {
        fail("a text is too long");
    }
    v.length = static_cast<uint32_t>(n);
    push(add(v));
    return true;
}

bool pickle_machine::build(uint8_t code) {
    const auto last = [&](size_t n) {
        std::vector<uint32_t> elements(n);
        for (size_t i = n; i-- > 0;) {
            elements[i] = pop();
        }
        return elements;
    };
    switch (code) {
        case MARK: marks_.push_back(stack_.size()); return true;
        case POP: pop(); return true;
        case EMPTY_DICT: push(add_list(kind::dict, {})); return true;
        case EMPTY_LIST:
        case EMPTY_TUPLE: push(add_list(kind::sequence, {})); return true;
        case TUPLE1: push(add_list(kind::sequence, last(1))); return true;
        case TUPLE2: push(add_list(kind::sequence, last(2))); return true;
        case TUPLE3: push(add_list(kind::sequence, last(3))); return true;
        case LIST:
        case TUPLE: push(add_list(kind::sequence, pop_to_mark())); return true;
        case APPEND: append(last(1), kind::sequence); return true;
        case APPENDS: append(pop_to_mark(), kind::sequence); return true;
        case SETITEM: append(last(2), kind::dict); return true;
        case SETITEMS: append(pop_to_mark(), kind::dict); return true;
        case BINPERSID: persistent(); return true;
        case REDUCE: reduce(); return true;
        case GLOBAL: {
            const std::string module = line();
            global(module, line());
            return true;
        }
        case STACK_GLOBAL: {
            const std::vector<uint32_t> names = last(2);
            global(std::string(ref(names[0]).text()), std::string(ref(names[1]).text()));
            return true;
        }
        default: return false;
    }
}

bool pickle_machine::remember(uint8_t code) {
    const auto recall = [&](uint32_t number) {
        const auto it = memo_.find(number);
        if (it == memo_.end()) {
            fail("the pickle recalls a value that it did not remember");
        }
        push(it->second);
    };
    switch (code) {
        case PROTO: take(1); return true;
        case FRAME: take(8); return true;
        case BINPUT: memo_[little<uint8_t>()] = top(); return true;
        case LONG_BINPUT: memo_[little<uint32_t>()] = top(); return true;
        case MEMOIZE: memo_[static_cast<uint32_t>(memo_.size())] = top(); return true;
        case BINGET: recall(little<uint8_t>()); return true;
        case LONG_BINGET: recall(little<uint32_t>()); return true;
        default: return false;
    }
}

}  // namespace moescope::logs
