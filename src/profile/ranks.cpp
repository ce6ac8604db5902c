#include "profile/ranks.hpp"

#include <cstdlib>

#include "core/error.hpp"
#include "stats/merge.hpp"

#ifdef MOESCOPE_MPI
#define OMPI_SKIP_MPICXX 1
#include <mpi.h>
#endif

namespace moescope::profile {

namespace {

// The launchers say so; MPI itself is only started where there is company.
bool launched_by_mpirun() {
    for (const char * name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
        if (const char * value = std::getenv(name); value != nullptr && std::atoi(value) > 1) {
            return true;
        }
    }
    return false;
}

}  // namespace

bool ranks_possible() {
#ifdef MOESCOPE_MPI
    return true;
#else
    return false;
#endif
}

#ifdef MOESCOPE_MPI

ranks::ranks() {
    if (launched_by_mpirun()) {
        MPI_Init(nullptr, nullptr);
        MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
        MPI_Comm_size(MPI_COMM_WORLD, &size_);
    }
}

ranks::~ranks() {
    if (size_ > 1) {
        MPI_Finalize();
    }
}

void ranks::end_the_others() const {
    if (size_ > 1) {
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
}

bool ranks::all(bool here) const {
    int one = here ? 1 : 0, every = one;
    if (size_ > 1) {
        MPI_Allreduce(&one, &every, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    }
    return every == 1;
}

std::vector<std::string> ranks::gather(const std::string & mine) const {
    if (size_ == 1) {
        return {mine};
    }
    const int        n_mine = static_cast<int>(mine.size());
    std::vector<int> sizes(static_cast<size_t>(size_)), offsets(sizes.size());
    MPI_Gather(&n_mine, 1, MPI_INT, sizes.data(), 1, MPI_INT, 0, MPI_COMM_WORLD);
    for (size_t r = 1; r < sizes.size(); ++r) {
        offsets[r] = offsets[r - 1] + sizes[r - 1];
    }
    std::string all(rank_ == 0 ? static_cast<size_t>(offsets.back() + sizes.back()) : 0, '\0');
    MPI_Gatherv(mine.data(), n_mine, MPI_BYTE, all.data(), sizes.data(), offsets.data(), MPI_BYTE, 0, MPI_COMM_WORLD);
    std::vector<std::string> parts;
    for (size_t r = 0; rank_ == 0 && r < sizes.size(); ++r) {
        parts.push_back(all.substr(static_cast<size_t>(offsets[r]), static_cast<size_t>(sizes[r])));
    }
    return parts;
}

#else

ranks::ranks() {
    if (launched_by_mpirun()) {
        throw error("this moescope was built without MPI, so every rank would compute the whole corpus")
            .fix("install libopenmpi-dev and build again, or use --shard I/N and moescope merge");
    }
}

ranks::~ranks() = default;

void ranks::end_the_others() const {}

bool ranks::all(bool here) const {
    return here;
}

std::vector<std::string> ranks::gather(const std::string & mine) const {
    return {mine};
}

#endif

void ranks::gather(stats::moestats & s) const {
    if (size_ == 1) {
        return;
    }
    const std::vector<std::string> parts = gather(stats::encode_moestats(s));
    for (size_t r = 1; r < parts.size(); ++r) {
        stats::add_shard(s, stats::decode_moestats(parts[r], "rank " + std::to_string(r)));
    }
}

}  // namespace moescope::profile
