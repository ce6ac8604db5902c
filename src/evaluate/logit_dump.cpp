#include "evaluate/logit_dump.hpp"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "core/error.hpp"

namespace moescope::evaluate {

logit_dump::logit_dump(const std::string & folder, size_t n_vocab)
    : path_(folder),
      folder_(folder, io::existing_file::refuse),
      n_vocab_(n_vocab),
      full_(open("full.f32")),
      changed_(open("changed.f32")),
      rows_(open("rows.i32")) {}

logit_dump::~logit_dump() = default;

logit_dump::file logit_dump::open(const char * name) const {
    file f(std::fopen((folder_.name() + '/' + name).c_str(), "wb"));
    if (!f) {
        throw error(std::string("cannot write: ") + std::strerror(errno)).in(path_ + '/' + name);
    }
    return f;
}

void logit_dump::write(const file & f, const void * data, size_t size) const {
    if (std::fwrite(data, 1, size, f.get()) != size) {
        throw error(std::string("cannot write: ") + std::strerror(errno)).in(path_);
    }
}

void logit_dump::add(uint32_t sample, const compared_row & row) {
    const int32_t place[] = {static_cast<int32_t>(sample), static_cast<int32_t>(row.position), row.target};
    write(full_, row.full, n_vocab_ * sizeof(float));
    write(changed_, row.changed, n_vocab_ * sizeof(float));
    write(rows_, place, sizeof(place));
    n_rows_ += 1;
}

void logit_dump::finish() {
    const file        shape = open("shape.json");
    const std::string text  = fmt::format("{{\"rows\": {}, \"n_vocab\": {}}}\n", n_rows_, n_vocab_);
    write(shape, text.data(), text.size());
    for (std::FILE * f : {full_.get(), changed_.get(), rows_.get(), shape.get()}) {
        if (std::fflush(f) != 0) {
            throw error(std::string("cannot write: ") + std::strerror(errno)).in(path_);
        }
    }
    folder_.commit();
}

}  // namespace moescope::evaluate
