#include "sql/engine/duckdb.hpp"

#include <cstdlib>
#include <filesystem>
#include <vector>

#include <dlfcn.h>

#include "core/error.hpp"

namespace moescope::sql {

namespace {

namespace fs = std::filesystem;

constexpr char library_name[] = "libduckdb.so";

std::string from_environment(const char * name) {
    const char * value = std::getenv(name);
    return value == nullptr ? "" : value;
}

// Where scripts/setup unpacks it; empty where there is no home.
std::string in_cache() {
    std::string       cache = from_environment("MOESCOPE_CACHE");
    const std::string xdg = from_environment("XDG_CACHE_HOME"), home = from_environment("HOME");
    if (cache.empty() && !xdg.empty()) {
        cache = xdg + "/moescope";
    } else if (cache.empty() && !home.empty()) {
        cache = home + "/.cache/moescope";
    }
    return cache.empty() ? "" : cache + "/duckdb-" MOESCOPE_DUCKDB_VERSION "/" + library_name;
}

// RTLD_LOCAL: none of its names may answer for one of ours.
void * load(const std::string & path) {
    return ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
}

void * find_library() {
    if (const std::string named = from_environment("MOESCOPE_DUCKDB"); !named.empty()) {
        void * library = load(fs::is_directory(named) ? named + "/" + library_name : named);
        if (library == nullptr) {
            throw error(std::string("MOESCOPE_DUCKDB names no library that can be loaded: ") + ::dlerror()).in(named);
        }
        return library;
    }
    for (const std::string & path : {std::string(library_name), in_cache()}) {
        if (void * library = path.empty() ? nullptr : load(path)) {
            return library;
        }
    }
    throw error("SQL and Parquet need DuckDB's library, libduckdb.so, and none is found")
        .fix("scripts/setup fetches it; or download libduckdb from duckdb.org, and set MOESCOPE_DUCKDB to its path");
}

duckdb_functions load_functions() {
    void *           library = find_library();
    duckdb_functions all;
    const auto       find = [&](const char * name, auto & function) {
        void * symbol = ::dlsym(library, name);
        if (symbol == nullptr) {
            throw error(std::string("the DuckDB library found is too old: it lacks ") + name)
                .fix("version " MOESCOPE_DUCKDB_VERSION " is the one that moescope is tested with");
        }
        function = reinterpret_cast<std::decay_t<decltype(function)>>(symbol);
    };
#define MOESCOPE_FIND(name) find("duckdb_" #name, all.name);
    MOESCOPE_DUCKDB_FUNCTIONS(MOESCOPE_FIND)
#undef MOESCOPE_FIND
    return all;
}

}  // namespace

const duckdb_functions & duckdb() {
    static const duckdb_functions all = load_functions();
    return all;
}

}  // namespace moescope::sql
