#include "formats/torch_writer.hpp"

#include "io/zip_writer.hpp"

namespace moescope::formats {

namespace {

void append_u32(std::string & to, uint32_t value) {
    to.append(reinterpret_cast<const char *>(&value), sizeof(value));
}

}  // namespace

void torch_writer::begin_dict() {
    pickle_ += "}(";  // EMPTY_DICT, MARK
}

void torch_writer::end_dict() {
    pickle_ += 'u';  // SETITEMS
}

void torch_writer::text(const std::string & value) {
    pickle_ += 'X';  // BINUNICODE
    append_u32(pickle_, static_cast<uint32_t>(value.size()));
    pickle_ += value;
}

void torch_writer::key(const std::string & name) {
    text(name);
}

void torch_writer::key(int32_t number) {
    integer(number);
}

void torch_writer::none() {
    pickle_ += 'N';
}

void torch_writer::integer(int32_t value) {
    pickle_ += 'J';  // BININT
    append_u32(pickle_, static_cast<uint32_t>(value));
}

void torch_writer::tensor(const std::vector<uint32_t> & shape, const std::vector<int32_t> & values) {
    tensor("IntStorage", shape, values.size(), values.data(), values.size() * sizeof(int32_t));
}
void torch_writer::tensor(const std::vector<uint32_t> & shape, const std::vector<int64_t> & values) {
    tensor("LongStorage", shape, values.size(), values.data(), values.size() * sizeof(int64_t));
}
void torch_writer::tensor(const std::vector<uint32_t> & shape, const std::vector<double> & values) {
    tensor("DoubleStorage", shape, values.size(), values.data(), values.size() * sizeof(double));
}

// torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())
void torch_writer::tensor(const char * storage, const std::vector<uint32_t> & shape, size_t n, const void * values,
                          size_t bytes) {
    pickle_ += "ctorch._utils\n_rebuild_tensor_v2\n((";
    text("storage");
    pickle_ += std::string("ctorch\n") + storage + "\n";
    text(std::to_string(storages_.size()));
    text("cpu");
    integer(static_cast<int32_t>(n));
    pickle_ += "tQ";  // TUPLE, BINPERSID
    integer(0);
    pickle_ += '(';
    for (const uint32_t d : shape) {
        integer(static_cast<int32_t>(d));
    }
    pickle_ += "t(";
    for (size_t i = 0; i < shape.size(); ++i) {
        uint32_t step = 1;
        for (size_t j = i + 1; j < shape.size(); ++j) {
            step *= shape[j];
        }
        integer(static_cast<int32_t>(step));
    }
    pickle_ += "t\x89";                            // NEWFALSE
    pickle_ += "ccollections\nOrderedDict\n)RtR";  // EMPTY_TUPLE, REDUCE, TUPLE, REDUCE
    storages_.emplace_back(static_cast<const char *>(values), bytes);
}

void torch_writer::write(std::FILE * out) {
    io::zip_writer zip(out);
    zip.add("archive/data.pkl", pickle_ + '.');
    for (size_t i = 0; i < storages_.size(); ++i) {
        zip.add("archive/data/" + std::to_string(i), storages_[i]);
    }
    zip.add("archive/version", "3\n");
    zip.finish();
}

}  // namespace moescope::formats
