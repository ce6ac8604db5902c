#include "make-model/gguf_file.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <thread>
#include <unistd.h>

namespace moescope::make_model {
namespace {

// A file that is renamed into place by commit() and removed if that is never reached.
class output_file {
public:
    explicit output_file(std::string path) : path_(std::move(path)), part_(path_ + ".part") {
        file_ = std::fopen(part_.c_str(), "wb");
        if (file_ == nullptr) {
            fail("cannot be created");
        }
    }
    ~output_file() {
        if (file_ != nullptr) {
            std::fclose(file_);
            std::remove(part_.c_str());
        }
    }
    output_file(const output_file &)             = delete;
    output_file & operator=(const output_file &) = delete;

    void write(const void * data, size_t size) {
        if (std::fwrite(data, 1, size, file_) != size) {
            fail("cannot be written");
        }
        size_ += size;
    }
    void pad(size_t alignment) {
        const std::vector<char> zeros(GGML_PAD(size_, alignment) - size_);
        write(zeros.data(), zeros.size());
    }
    void leave_hole_up_to(size_t size) {
        if (std::fflush(file_) != 0 || ftruncate(fileno(file_), static_cast<off_t>(size)) != 0) {
            fail("cannot be extended");
        }
    }
    size_t size() const { return size_; }
    void   commit() {
          const int failed = std::fclose(file_);
          file_            = nullptr;
          if (failed != 0 || std::rename(part_.c_str(), path_.c_str()) != 0) {
              const int code = errno;
              std::remove(part_.c_str());
              errno = code;
              fail("cannot be completed");
        }
    }

private:
    [[noreturn]] void fail(const std::string & what) const {
        throw error(what + ": " + std::strerror(errno)).in(path_);
    }

    std::string path_, part_;
    FILE *      file_ = nullptr;
    size_t      size_ = 0;
};

struct ggml_deleter {
    void operator()(ggml_context * ctx) const { ggml_free(ctx); }
};

// The metadata with all tensors declared, so that gguf computes the offsets.
gguf_ptr declare_tensors(const model_layout & layout) {
    gguf_ptr out(gguf_init_empty());
    gguf_set_kv(out.get(), layout.kv.get());
    const ggml_init_params params = {ggml_tensor_overhead() * (layout.tensors.size() + 1), nullptr, true};
    const std::unique_ptr<ggml_context, ggml_deleter> ctx(ggml_init(params));
    for (const tensor_spec & spec : layout.tensors) {
        ggml_tensor * tensor = ggml_new_tensor(ctx.get(), spec.type, spec.n_dims(), spec.ne.data());
        ggml_set_name(tensor, spec.name.c_str());
        gguf_add_tensor(out.get(), tensor);
    }
    return out;
}

void write_header(output_file & file, const gguf_context * gguf) {
    std::vector<char> header(gguf_get_meta_size(gguf));
    gguf_get_meta_data(gguf, header.data());
    file.write(header.data(), header.size());
}

void convert_row(const tensor_spec & tensor, const float * values, char * out) {
    if (tensor.type == GGML_TYPE_F32) {
        std::memcpy(out, values, tensor.ne[0] * sizeof(float));
    } else if (tensor.type == GGML_TYPE_I32) {
        std::copy(values, values + tensor.ne[0], reinterpret_cast<int32_t *>(out));
    } else {
        ggml_quantize_chunk(tensor.type, values, out, 0, 1, tensor.ne[0], nullptr);
    }
}

void convert_rows(const tensor_spec & tensor, int64_t first, int64_t last, const fill_row & fill, char * out) {
    std::vector<float> values(tensor.ne[0]);
    const size_t       row_size = ggml_row_size(tensor.type, tensor.ne[0]);
    for (int64_t row = first; row < last; row++) {
        fill(tensor, row, values.data());
        convert_row(tensor, values.data(), out + (row - first) * row_size);
    }
}

// Half of the rows on a second thread, where there are enough of them for that to pay.
void convert_on_two_threads(const tensor_spec & tensor, int64_t first, int64_t last, const fill_row & fill,
                            char * out) {
    const int64_t middle = first + (last - first) / 2;
    if ((last - first) * tensor.ne[0] < (1 << 18)) {
        convert_rows(tensor, first, last, fill, out);
        return;
    }
    std::exception_ptr failed;
    std::thread        other([&] {
        try {
            convert_rows(tensor, middle, last, fill, out + (middle - first) * ggml_row_size(tensor.type, tensor.ne[0]));
        } catch (...) {
            failed = std::current_exception();
        }
    });
    try {
        convert_rows(tensor, first, middle, fill, out);
    } catch (...) {
        other.join();
        throw;
    }
    other.join();
    if (failed) {
        std::rethrow_exception(failed);
    }
}

}  // namespace

void write_gguf(const std::string & path, const model_layout & layout, const fill_row & fill) {
    const gguf_ptr gguf = declare_tensors(layout);
    output_file    file(path);
    write_header(file, gguf.get());
    std::vector<char> buffer;
    for (const tensor_spec & tensor : layout.tensors) {
        const int64_t row_size = static_cast<int64_t>(ggml_row_size(tensor.type, tensor.ne[0]));
        const int64_t n_chunk  = std::max<int64_t>(1, (8 << 20) / row_size);
        for (int64_t row = 0; row < tensor.n_rows(); row += n_chunk) {
            const int64_t last = std::min(row + n_chunk, tensor.n_rows());
            buffer.resize((last - row) * row_size);
            convert_on_two_threads(tensor, row, last, fill, buffer.data());
            file.write(buffer.data(), buffer.size());
        }
        file.pad(gguf_get_alignment(gguf.get()));
    }
    file.commit();
}

void write_hollow_gguf(const std::string & path, const model_layout & layout) {
    const gguf_ptr gguf = declare_tensors(layout);
    output_file    file(path);
    write_header(file, gguf.get());
    size_t end = file.size();
    for (const tensor_spec & tensor : layout.tensors) {
        end += GGML_PAD(ggml_row_size(tensor.type, tensor.ne[0]) * tensor.n_rows(), gguf_get_alignment(gguf.get()));
    }
    file.leave_hole_up_to(end);
    file.commit();
}

}  // namespace moescope::make_model
