#pragma once

#include <cstdint>
#include <deque>
#include <vector>

namespace moescope::analysis {

// The one line over which expert slices come, while layers compute: what has been foreseen comes ahead of its layer, what
// was not makes the layer wait.
//
// Layers take turns. When one begins, its router has chosen: what of that is neither in the cache nor fetched is fetched at
// once, ahead of everything that waits, but not before the transfer under way is over. The layer waits until all it needs is
// there, then computes. What is foreseen at its beginning is fetched meanwhile, in the order given. When its layer begins,
// transfers of it that have not begun are dropped, and what came in vain is thrown away. Times are in any unit, from 0.
class fetch_line {
public:
    struct fetch {
        uint32_t slice = 0;
        double   time  = 0;  // that its transfer takes
    };

    // Layer number `turn` begins; turns count up. missing: what it needs and the cache does not hold. Returns how long it
    // waits. Afterwards it computes for `compute`.
    double begin(uint64_t turn, const std::vector<fetch> & missing, double compute);

    // Foreseen at the beginning of the last turn, for a later one: fetched behind what waits already. What is foreseen for
    // that turn twice is fetched once.
    void foresee(uint64_t turn, const fetch & f);

    double fetched_ahead() const { return ahead_; }  // time of transfers ahead of their layer, of those begun
    double in_vain() const { return vain_; }         // of these, what its layer did not need
    double on_demand() const { return demand_; }     // time of the transfers that a layer waited for

private:
    struct foreseen {
        uint64_t turn = 0;
        fetch    what;
        double   from    = 0;  // not before: when it was foreseen
        double   arrival = 0;  // of one that has begun
    };

    void   begin_transfers(double now);
    double take(uint64_t turn, const std::vector<fetch> & missing, double now);

    double                now_ = 0, said_ = 0, free_ = 0;  // next layer may begin; last one began; the line is free
    std::deque<foreseen>  waiting_;
    std::vector<foreseen> begun_;
    double                ahead_ = 0, vain_ = 0, demand_ = 0;
};

}  // namespace moescope::analysis
