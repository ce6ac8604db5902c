#include "logs/arrays/pickle.hpp"

#include "logs/arrays/pickle_machine.hpp"

namespace moescope::logs {

pickle::pickle(span<const uint8_t> bytes) {
    root_ = pickle_machine(*this, bytes).run();
}

pickle::kind pickle::ref::what() const {
    return owner_ == nullptr ? kind::none : owner_->values_[number_].what;
}

int64_t pickle::ref::integer() const {
    return is(kind::integer) || is(kind::boolean) ? owner_->values_[number_].integer : 0;
}

double pickle::ref::real() const {
    return is(kind::real) ? owner_->values_[number_].real : static_cast<double>(integer());
}

std::string_view pickle::ref::text() const {
    return is(kind::text) ? std::string_view(owner_->values_[number_].text, owner_->values_[number_].length)
                          : std::string_view();
}

size_t pickle::ref::size() const {
    if (is(kind::sequence) || is(kind::dict)) {
        return owner_->lists_[owner_->values_[number_].index].size() / (is(kind::dict) ? 2 : 1);
    }
    return 0;
}

pickle::ref pickle::ref::at(size_t i) const {
    return i < size() ? ref(owner_, owner_->lists_[owner_->values_[number_].index][is(kind::dict) ? 2 * i + 1 : i])
                      : ref();
}

pickle::ref pickle::ref::key(size_t i) const {
    return is(kind::dict) && i < size() ? ref(owner_, owner_->lists_[owner_->values_[number_].index][2 * i]) : ref();
}

pickle::ref pickle::ref::find(std::string_view wanted) const {
    for (size_t i = size(); i-- > 0;) {  // what was set last counts
        if (key(i).is(kind::text) && key(i).text() == wanted) {
            return at(i);
        }
    }
    return {};
}

const pickle::tensor * pickle::ref::as_tensor() const {
    return is(kind::tensor) ? &owner_->tensors_[owner_->values_[number_].index] : nullptr;
}

}  // namespace moescope::logs
