#pragma once

#include <optional>
#include <string>

#include "io/zip_file.hpp"
#include "logs/arrays/pickle.hpp"

namespace moescope::logs {

// A file that torch.save wrote (since PyTorch 1.6): an archive of a pickle and of what its tensors hold. Nothing in it is
// executed; tensors are read where they lie in the mapped file.
class torch_file {
public:
    explicit torch_file(const std::string & path);  // throws error naming path and offset

    const std::string & path() const { return zip_.path(); }
    pickle::ref         root() const { return pickle_->root(); }

    // A tensor's elements, which live as long as this object. Throws error naming `what` where the value is no tensor, or
    // one that does not lie in the file.
    array_view tensor(pickle::ref value, const std::string & what) const;
    // A number, or a tensor of one element. Nothing where it is neither.
    std::optional<double> number(pickle::ref value) const;

    static bool is_one(const io::zip_file & zip);

private:
    io::zip_file          zip_;
    std::string           prefix_;  // "archive/"
    std::optional<pickle> pickle_;
};

}  // namespace moescope::logs
