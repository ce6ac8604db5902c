#pragma once

#include <string>
#include <vector>

#include "stats/moestats.hpp"

namespace moescope::profile {

// Whether this build has MPI.
bool ranks_possible();

// The processes that `mpirun -n N moescope profile …` starts. Without mpirun, or in a build without MPI, there is one.
class ranks {
public:
    ranks();
    ~ranks();
    ranks(const ranks &)             = delete;
    ranks & operator=(const ranks &) = delete;

    int rank() const { return rank_; }
    int size() const { return size_; }

    // Ends the other ranks, which would wait for ever for one that failed. Ends this one, too; without company it returns.
    void end_the_others() const;

    // True when it is true on every rank. All must call it.
    bool all(bool here) const;

    // What every rank gives, in the order of ranks, on rank 0; nothing on the others. All must call it.
    std::vector<std::string> gather(const std::string & mine) const;

    // Adds the profiles of all ranks, in the order of ranks, into rank 0's. All must call it. Each rank's profile is one
    // shard of the same corpus; the sum is of the whole corpus.
    void gather(stats::moestats & s) const;

private:
    int rank_ = 0, size_ = 1;
};

}  // namespace moescope::profile
