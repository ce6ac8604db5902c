#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace moescope::formats {

// A dict as torch.save writes it: torch.load(FILE, weights_only=True) reads it back. Values are appended key by key.
//
//     torch_writer w;
//     w.begin_dict();
//     w.key("logical_count"), w.tensor({1, 2, 3}, counts);
//     w.end_dict();
//     w.write(out);
class torch_writer {
public:
    void begin_dict();
    void end_dict();
    void key(const std::string & name);
    void key(int32_t number);

    void none();
    void integer(int32_t value);
    void tensor(const std::vector<uint32_t> & shape, const std::vector<int32_t> & values);
    void tensor(const std::vector<uint32_t> & shape, const std::vector<int64_t> & values);
    void tensor(const std::vector<uint32_t> & shape, const std::vector<double> & values);

    void write(std::FILE * out);  // the last call; throws error

private:
    void text(const std::string & value);
    void tensor(const char * storage, const std::vector<uint32_t> & shape, size_t n, const void * values, size_t bytes);

    std::string              pickle_ = "\x80\x02";
    std::vector<std::string> storages_;
};

}  // namespace moescope::formats
