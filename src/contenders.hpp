// Which queries matter in which block of a row of blocks: bounds decide it, no pixel is computed.
//
// Most queries matter in few places. Bounds for whole spans of blocks say where to look closer.
#pragma once

#include "mask_sampler.hpp"

namespace rmpsam {

struct Job {
  const Sampler& sampler;
  const float* scores;  // [queries up to a multiple of kBlock]
  int queries;

  int padded_queries() const { return (queries + kBlock - 1) / kBlock * kBlock; }
};

// Where the logits of a query lie on a block.
enum Side : uint8_t { kBelow = 0, kMixed = 1, kAbove = 2 };  // all below 0, both, none below 0

// A query that can win a pixel of a block, or claim one.
struct Contender {
  float upper;  // bound of score * sigmoid
  uint16_t query;
  Side side;
};

// What one thread knows of a row of blocks.
struct Contest {
  std::vector<float> smallest, largest;  // [queries][stride]: coarse columns, see bound_columns
  std::vector<float> windows;            // see bound_span
  std::vector<float> span_high;          // [spans][queries]: bound of the logits
  std::vector<float> span_low;           // [spans][queries]: bound of the lower bounds of blocks
  std::vector<Contender> lists;          // [spans * kBlock blocks][queries]: ascending
  std::vector<int32_t> lengths;          // [spans * kBlock blocks]
  std::vector<float> bars;               // [spans * kBlock blocks]: every pixel's winner has more

  explicit Contest(const Job& job)
      : smallest(static_cast<size_t>(job.queries) * job.sampler.stride()),
        largest(smallest.size()),
        windows(job.sampler.stride()),
        span_high(static_cast<size_t>(job.sampler.spans()) * job.padded_queries()),
        span_low(span_high.size()),
        lists(static_cast<size_t>(job.sampler.spans()) * kBlock * job.queries),
        lengths(static_cast<size_t>(job.sampler.spans()) * kBlock),
        bars(lengths.size()) {}
};

// One span of a row of blocks, and what is known of it.
struct Span {
  const Job& job;
  Contest& contest;
  int span;

  Lanes low(int query) const {
    const float* columns =
        contest.smallest.data() + static_cast<size_t>(query) * job.sampler.stride();
    return bound_span<false>(job.sampler, columns, span, contest.windows.data());
  }
  Lanes high(int query) const {
    const float* columns =
        contest.largest.data() + static_cast<size_t>(query) * job.sampler.stride();
    return bound_span<true>(job.sampler, columns, span, contest.windows.data());
  }
};

// What some query has at least on each block; span_best [queries]: on no block it has more.
RMPSAM_INLINE Lanes best_floor(const Span& s, const float* span_best) {
  // The strongest one first: then most of the others cannot add to it.
  const int first = std::max_element(span_best, span_best + s.job.queries) - span_best;
  Lanes best = s.job.scores[first] * sigmoid(s.low(first));
  float least = smallest_lane(best);
  for (int q = 0; q < s.job.queries; ++q) {
    if (q == first || span_best[q] <= least) continue;
    best = larger(best, s.job.scores[q] * sigmoid(s.low(q)));
    least = smallest_lane(best);
  }
  return best;
}

// Adds a query to the lists of the blocks where it matters.
RMPSAM_INLINE void list_query(const Span& s, int query, Lanes bars) {
  const Lanes high = s.high(query);
  const Lanes upper = s.job.scores[query] * sigmoid(high);
  const IntLanes matters = is_at_least(upper, bars) | ~is_negative(high);
  if (!join_bits(matters)) return;
  const Lanes low = s.low(query);
  alignas(64) float uppers[kBlock];
  alignas(64) int32_t marks[kBlock], sides[kBlock];
  store_lanes(uppers, upper);
  store_lanes(marks, -matters);
  store_lanes(sides, -~is_negative(low)- ~is_negative(high));
  Contender* list = s.contest.lists.data() + static_cast<size_t>(s.span) * kBlock * s.job.queries;
  int32_t* lengths = s.contest.lengths.data() + s.span * kBlock;
  for (int i = 0; i < kBlock; ++i, list += s.job.queries) {
    // Written in any case, and kept if it counts: cheaper than a branch.
    list[lengths[i]] = {uppers[i], static_cast<uint16_t>(query), static_cast<Side>(sides[i])};
    lengths[i] += marks[i];
  }
}

RMPSAM_INLINE void list_span(const Span& s) {
  const size_t first = static_cast<size_t>(s.span) * s.job.padded_queries();
  float* __restrict high = s.contest.span_high.data() + first;
  float* __restrict upper = s.contest.span_low.data() + first;
  for (int q = 0; q < s.job.queries; q += kBlock) {
    store_lanes(upper + q, load_lanes(s.job.scores + q) * sigmoid(load_lanes(upper + q)));
  }
  const Lanes bars = best_floor(s, upper) * (1.0f - kBoundSlack);
  const float bar = smallest_lane(bars);
  store_lanes(s.contest.bars.data() + s.span * kBlock, bars);
  for (int q = 0; q < s.job.queries; q += kBlock) {
    store_lanes(upper + q, load_lanes(s.job.scores + q) * sigmoid(load_lanes(high + q)));
  }
  for (int q = 0; q < s.job.queries; ++q) {
    if (upper[q] >= bar || high[q] >= 0.0f) list_query(s, q, bars);
  }
}

// Lists the contenders of every block of a row. Returns false, with nothing useful listed, if some
// logit is not finite; finite [queries]: 0 for such queries.
RMPSAM_INLINE bool list_contenders(const Job& job, int block_row, Contest& contest,
                                   uint8_t* finite) {
  const Sampler& s = job.sampler;
  bool all_finite = true;
  for (int q = 0; q < job.queries; ++q) {
    float* smallest = contest.smallest.data() + static_cast<size_t>(q) * s.stride();
    float* largest = contest.largest.data() + static_cast<size_t>(q) * s.stride();
    if (!bound_columns(s, q, block_row, smallest, largest)) {
      finite[q] = 0;
      all_finite = false;
      continue;
    }
    for (int span = 0; span < s.spans(); ++span) {
      const size_t place = static_cast<size_t>(span) * job.padded_queries() + q;
      contest.span_high[place] = largest_in_span(s, largest, span);
      contest.span_low[place] = largest_in_span(s, smallest, span);
    }
  }
  if (!all_finite) return false;
  std::fill(contest.lengths.begin(), contest.lengths.end(), 0);
  for (int span = 0; span < s.spans(); ++span) list_span({job, contest, span});
  return true;
}

}  // namespace rmpsam
