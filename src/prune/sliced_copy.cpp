#include "prune/sliced_copy.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "io/output_file.hpp"

namespace moescope::prune {

namespace {

constexpr uint64_t buffer_size = 4u << 20;
constexpr uint64_t long_run    = 256u << 10;  // from here on a run is copied by the kernel rather than gathered

class tensor_copier {
public:
    tensor_copier(const gguf::model_file & source, io::output_file & out, uint64_t total,
                  const copy_progress & progress)
        : source_(source),
          out_(out),
          total_(total),
          progress_(progress) {}

    void copy(const tensor_slice & slice, uint64_t to) {
        const gguf::model_file::tensor & t    = source_.tensors()[slice.tensor];
        const gguf::model_file::part &   part = source_.parts()[t.part];
        file_                                 = &part.file;
        begin_                                = part.header.data_begin + t.offset;
        to_                                   = to;
        if (slice.edit) {
            copy_edited(slice, t.size);
        } else if (slice.whole) {
            copy_run(0, t.size);
        } else {
            copy_slabs(slice, t.size / static_cast<uint64_t>(t.ne[slice.axis]));
        }
        flush();
    }

private:
    // Neighbouring slabs are one run.
    void copy_slabs(const tensor_slice & slice, uint64_t slab) {
        for (size_t i = 0; i < slice.kept.size();) {
            size_t j = i + 1;
            while (j < slice.kept.size() && slice.kept[j] == slice.kept[j - 1] + 1) {
                ++j;
            }
            copy_run(static_cast<uint64_t>(slice.kept[i]) * slab, (j - i) * slab);
            i = j;
        }
    }

    void copy_run(uint64_t from, uint64_t n) {
        if (n >= long_run) {
            flush();
            out_.copy_from(*file_, begin_ + from, to_, n, [this](uint64_t done) { report(done); });
            to_ += n;
            return;
        }
        if (gathered_.size() + n > buffer_size) {
            flush();
        }
        gathered_.resize(gathered_.size() + n);
        file_->read_at(begin_ + from, gathered_.data() + gathered_.size() - n, n);
    }

    void copy_edited(const tensor_slice & slice, uint64_t size) {
        const uint64_t step = std::max<uint64_t>(1, buffer_size / slice.row_size) * slice.row_size;
        for (uint64_t at = 0; at < size; at += step) {
            const uint64_t n = std::min(step, size - at);
            gathered_.resize(n);
            file_->read_at(begin_ + at, gathered_.data(), n);
            slice.edit(gathered_.data(), n / slice.row_size, at / slice.row_size);
            flush();
        }
    }

    void flush() {
        out_.write_at(to_, gathered_.data(), gathered_.size());
        to_ += gathered_.size();
        report(gathered_.size());
        gathered_.clear();
    }

    void report(uint64_t bytes) {
        done_ += bytes;
        if (bytes > 0 && progress_ && !progress_(done_, total_)) {
            throw error("stopped; nothing was left behind");
        }
    }

    const gguf::model_file & source_;
    io::output_file &        out_;
    const uint64_t           total_;
    const copy_progress &    progress_;
    uint64_t                 done_  = 0;
    const io::input_file *   file_  = nullptr;  // of the tensor being copied
    uint64_t                 begin_ = 0;        // where it begins in that file
    uint64_t                 to_    = 0;        // where its next byte goes
    std::vector<char>        gathered_;
};

}  // namespace

std::vector<gguf::tensor_info> sliced_tensors(const gguf::model_file & source, const std::vector<tensor_slice> & slices,
                                              uint32_t alignment) {
    std::vector<gguf::tensor_info> infos;
    uint64_t                       offset = 0;
    for (const tensor_slice & slice : slices) {
        gguf::tensor_info t = source.tensors()[slice.tensor];
        if (!slice.whole) {
            t.size           = t.size / static_cast<uint64_t>(t.ne[slice.axis]) * slice.kept.size();
            t.ne[slice.axis] = static_cast<int64_t>(slice.kept.size());
        }
        t.offset = offset;
        offset   = (t.end() + alignment - 1) / alignment * alignment;
        infos.push_back(std::move(t));
    }
    return infos;
}

// The last tensor is padded as well: ggml counts its padding as part of the data.
static uint64_t file_size(const std::string & header, const std::vector<gguf::tensor_info> & infos,
                          uint32_t alignment) {
    return header.size() + (infos.empty() ? 0 : (infos.back().end() + alignment - 1) / alignment * alignment);
}

uint64_t sliced_size(const gguf::model_file & source, const gguf::header_writer & metadata,
                     const std::vector<tensor_slice> & slices) {
    const uint32_t alignment = source.parts().front().header.alignment;
    const auto     infos     = sliced_tensors(source, slices, alignment);
    return file_size(metadata.finish(infos, alignment), infos, alignment);
}

uint64_t write_sliced(const gguf::model_file & source, const gguf::header_writer & metadata,
                      const std::vector<tensor_slice> & slices, const std::string & path,
                      const copy_progress & progress) {
    const uint32_t    alignment = source.parts().front().header.alignment;
    const auto        infos     = sliced_tensors(source, slices, alignment);
    const std::string header    = metadata.finish(infos, alignment);
    const uint64_t    size      = file_size(header, infos, alignment);
    uint64_t          data      = 0;
    for (const gguf::tensor_info & t : infos) {
        data += t.size;
    }
    io::output_file out(path, io::existing_file::replace, source.paths());
    out.reserve(size);
    out.write_at(0, header.data(), header.size());
    tensor_copier copier(source, out, data, progress);
    for (size_t i = 0; i < slices.size(); ++i) {
        copier.copy(slices[i], header.size() + infos[i].offset);
    }
    out.commit();
    return size;
}

}  // namespace moescope::prune
