#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "io/existing_file.hpp"

namespace moescope::io {

// Where a trace's bytes go. A write is whole or throws moescope::error; after an error the sink holds only what was
// whole before it.
class byte_sink {
public:
    virtual ~byte_sink()                                   = default;
    virtual void     write(const void * data, size_t size) = 0;
    virtual uint64_t size() const                          = 0;  // bytes written so far
    // The errno of the write that failed; 0: none did.
    virtual int failure() const { return 0; }
    // Changes bytes that were written, where the sink can: also on a full disk. It may be that nothing happens.
    virtual void amend(uint64_t /*offset*/, const void * /*data*/, size_t /*size*/) noexcept {}
    // The file the bytes lie in; empty when there is none.
    virtual std::string path() const { return {}; }
};

// An append-only file. Creates it (0666 less umask); errors name the path. A file on a full disk, or over RLIMIT_FSIZE,
// is cut back to the last whole write. To replace a file is to begin another one under its name; devices and pipes are
// written to as they are. own: what replace_own may replace.
std::unique_ptr<byte_sink> open_file_sink(const std::string & path, existing_file policy, const file_kind & own = {});

}  // namespace moescope::io
