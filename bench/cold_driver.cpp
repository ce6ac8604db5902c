// The program that bench/reorder-cold runs: it decodes given tokens one by one from a mapped model of whose experts only so
// much may stay in memory, and prints what each token took as a JSON line, then the memory that is not of the file.
//
// Who keeps the limit: the kernel, where the program runs in a memory cgroup. Or, with --limit, the program: after each token
// it asks the kernel which of the experts' pages are resident (mincore) and, above the limit, drops those that were not used
// for longest: pages that were only read along count as older than those that the token used. What a token uses is told by a
// file. Nothing here knows of moescope.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <llama.h>

namespace {

constexpr uint64_t page = 4096;

struct options {
    std::string model, steps;
    uint64_t    limit     = UINT64_MAX;  // bytes of experts that may stay
    int         n_threads = 2;
};

struct range {
    uint64_t begin = 0, end = 0;  // pages of the file
};

// A line of the steps file: "token begin-end begin-end …" in bytes of the file. The first line, with token -1, names all
// experts.
struct step {
    int32_t            token = -1;
    std::vector<range> uses;
};

std::vector<step> read_steps(const std::string & path) {
    std::ifstream     in(path);
    std::vector<step> steps;
    for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        step &             s = steps.emplace_back();
        words >> s.token;
        uint64_t begin = 0, end = 0;
        for (char dash = 0; words >> begin >> dash >> end;) {
            s.uses.push_back({begin / page, (end + page - 1) / page});
        }
    }
    if (steps.size() < 2) {
        throw std::runtime_error("no steps in " + path);
    }
    return steps;
}

// "key: value" of a file of /proc; 0: it does not say.
uint64_t value_of(const char * path, const std::string & wanted) {
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
        if (line.rfind(wanted + ":", 0) == 0) {
            return std::stoull(line.substr(wanted.size() + 1));
        }
    }
    return 0;
}

uint64_t bytes_from_disk() {
    return value_of("/proc/self/io", "read_bytes");
}

// The pages of the experts: which are in memory, and how long ago they were of use.
class expert_pages {
public:
    expert_pages(const std::string & path, std::vector<range> experts) : experts_(std::move(experts)) {
        fd_           = ::open(path.c_str(), O_RDONLY);
        struct stat s = {};
        if (fd_ < 0 || ::fstat(fd_, &s) != 0) {
            throw std::runtime_error("cannot open " + path);
        }
        size_ = static_cast<uint64_t>(s.st_size);
        view_ = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd_, 0);
        if (view_ == MAP_FAILED) {
            throw std::runtime_error("cannot map " + path);
        }
        resident_.resize((size_ + page - 1) / page);
        used_.resize(resident_.size());
        find_mappings(s);
    }

    // Drops everything of the experts.
    void clear() {
        for (const range & r : experts_) {
            drop(r);
        }
        look();
    }

    // After a token that used these pages. Returns how many bytes of experts are in memory then.
    uint64_t keep_to(uint64_t limit, const std::vector<range> & uses) {
        turn_ += 2;
        look();
        for (const range & r : uses) {
            std::fill(used_.begin() + long(r.begin), used_.begin() + long(r.end), turn_);
        }
        for (const range & r : experts_) {
            for (uint64_t p = r.begin; p < r.end; ++p) {
                used_[p] = resident_[p] == 0 ? 0 : std::max(used_[p], fresh_[p] != 0 ? turn_ - 1 : used_[p]);
            }
        }
        if (held() * page > limit) {
            drop_oldest(held() - limit / page);
            look();
        }
        return held() * page;
    }

private:
    uint64_t held() const {
        uint64_t n = 0;
        for (const range & r : experts_) {
            n += static_cast<uint64_t>(std::count_if(resident_.begin() + long(r.begin), resident_.begin() + long(r.end),
                                                     [](uint8_t x) { return x != 0; }));
        }
        return n;
    }
    void look() {
        std::vector<uint8_t> now(resident_.size());
        if (::mincore(view_, size_, now.data()) != 0) {
            throw std::runtime_error("mincore fails");
        }
        fresh_.resize(now.size());
        for (size_t p = 0; p < now.size(); ++p) {
            now[p] &= 1;
            fresh_[p]    = now[p] != 0 && resident_[p] == 0;
            resident_[p] = now[p];
        }
    }
    // The n pages of the experts whose last use is longest ago, neighbours in one go.
    void drop_oldest(uint64_t n) {
        std::vector<std::pair<uint32_t, uint64_t>> held_pages;
        for (const range & r : experts_) {
            for (uint64_t p = r.begin; p < r.end; ++p) {
                if (resident_[p] != 0) {
                    held_pages.emplace_back(used_[p], p);
                }
            }
        }
        n = std::min<uint64_t>(n, held_pages.size());
        std::nth_element(held_pages.begin(), held_pages.begin() + long(n), held_pages.end());
        std::vector<uint64_t> gone;
        for (uint64_t i = 0; i < n; ++i) {
            gone.push_back(held_pages[i].second);
        }
        std::sort(gone.begin(), gone.end());
        for (size_t i = 0; i < gone.size();) {
            size_t j = i + 1;
            while (j < gone.size() && gone[j] == gone[j - 1] + 1) {
                ++j;
            }
            drop({gone[i], gone[j - 1] + 1});
            i = j;
        }
    }
    // Out of the program's page tables, then out of the page cache.
    void drop(const range & r) {
        for (const auto & [address, first, n] : mappings_) {
            const uint64_t from = std::max(r.begin, first), to = std::min(r.end, first + n);
            if (from < to) {
                ::madvise(address + (from - first) * page, (to - from) * page, MADV_DONTNEED);
            }
        }
        ::posix_fadvise(fd_, static_cast<off_t>(r.begin * page), static_cast<off_t>((r.end - r.begin) * page),
                        POSIX_FADV_DONTNEED);
    }
    // Where else this process has mapped the file: llama.cpp's own mapping.
    void find_mappings(const struct stat & s) {
        std::ifstream in("/proc/self/maps");
        for (std::string line; std::getline(in, line);) {
            unsigned long begin = 0, end = 0, offset = 0, inode = 0;
            if (std::sscanf(line.c_str(), "%lx-%lx %*s %lx %*s %lu", &begin, &end, &offset, &inode) == 4 &&
                inode == s.st_ino) {
                mappings_.push_back({reinterpret_cast<char *>(begin), offset / page, (end - begin) / page});
            }
        }
    }

    struct mapping {
        char *   address = nullptr;
        uint64_t first = 0, n = 0;  // pages
    };
    std::vector<range>    experts_;
    int                   fd_   = -1;
    uint64_t              size_ = 0;
    void *                view_ = nullptr;  // for mincore alone: nothing is read through it
    std::vector<mapping>  mappings_;
    std::vector<uint8_t>  resident_, fresh_;  // [page]
    std::vector<uint32_t> used_;              // [page] when it was last of use; 0: not in memory
    uint32_t              turn_ = 0;
};

llama_context * load(const options & o) {
    llama_model_params mp = llama_model_default_params();
    mp.use_extra_bufts    = false;  // weights stay in the mapped file
    mp.n_gpu_layers       = 0;
    llama_model * model   = llama_model_load_from_file(o.model.c_str(), mp);
    if (model == nullptr) {
        throw std::runtime_error("cannot load " + o.model);
    }
    llama_context_params cp = llama_context_default_params();
    cp.n_ctx                = 4096;
    cp.n_threads = cp.n_threads_batch = o.n_threads;
    llama_context * context           = llama_init_from_model(model, cp);
    if (context == nullptr) {
        throw std::runtime_error("cannot create a context");
    }
    return context;
}

void run(const options & o) {
    using clock                   = std::chrono::steady_clock;
    const std::vector<step> steps = read_steps(o.steps);
    llama_context *         ctx   = load(o);
    expert_pages            pages(o.model, steps[0].uses);
    pages.clear();
    for (size_t i = 1; i < steps.size(); ++i) {
        llama_token    token  = steps[i].token;
        const uint64_t before = bytes_from_disk();
        const auto     start  = clock::now();
        if (llama_decode(ctx, llama_batch_get_one(&token, 1)) != 0) {
            throw std::runtime_error("llama_decode fails");
        }
        llama_synchronize(ctx);
        const double   seconds = std::chrono::duration<double>(clock::now() - start).count();
        const uint64_t read    = bytes_from_disk() - before;
        const uint64_t held    = pages.keep_to(o.limit, steps[i].uses);
        std::printf("{\"seconds\": %.9f, \"read\": %llu, \"held\": %llu}\n", seconds,
                    static_cast<unsigned long long>(read), static_cast<unsigned long long>(held));
    }
    std::printf("{\"anonymous\": %llu}\n",
                static_cast<unsigned long long>(value_of("/proc/self/status", "RssAnon") * 1024));
}

}  // namespace

int main(int argc, char ** argv) {
    CLI::App app("decodes tokens from a model of which only a part may stay in memory");
    options  o;
    app.add_option("-m,--model", o.model)->required();
    app.add_option("--steps", o.steps, "tokens, and the bytes of experts that each uses")->required();
    app.add_option("--limit", o.limit,
                   "bytes of experts that may stay in memory (default: what a memory cgroup lets stay)");
    app.add_option("-t,--threads", o.n_threads)->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    try {
        run(o);
    } catch (const std::exception & e) {
        std::fprintf(stderr, "cold_driver: %s\n", e.what());
        return 1;
    }
    return 0;
}
