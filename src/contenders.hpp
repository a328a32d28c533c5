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
  std::vector<float> span_upper;         // [queries]: bound of score * sigmoid
  std::vector<Contender> lists;          // [spans * kBlock blocks][queries]: ascending
  // [spans * kBlock blocks]
  std::vector<float> bars;       // every pixel's winner has more
  std::vector<int32_t> lengths;  // of the lists
  std::vector<int32_t> leaders;  // place of the first one with the largest bound
  std::vector<int32_t> rivals;   // how many reach the bar

  explicit Contest(const Job& job)
      : smallest(static_cast<size_t>(job.queries) * job.sampler.stride()),
        largest(smallest.size()),
        windows(job.sampler.stride()),
        span_high(static_cast<size_t>(job.sampler.spans()) * job.padded_queries()),
        span_low(span_high.size()),
        span_upper(job.padded_queries()),
        lists(static_cast<size_t>(job.sampler.spans()) * kBlock * job.queries),
        bars(static_cast<size_t>(job.sampler.spans()) * kBlock),
        lengths(bars.size()),
        leaders(bars.size()),
        rivals(bars.size()) {}
};

// One span of a row of blocks, and what is known of it.
struct Span {
  const Job& job;
  Contest& contest;
  int span;
  IntLanes areas;    // of its blocks, pixels
  int32_t* claimed;  // [queries][kBlock], see Counts
};

// Bounds of the logits of a query on each block of a span. No members: these would be inlined at the
// compiler's will, and a call that passes vectors between clones for other processors goes wrong.
RMPSAM_INLINE Lanes low_of(const Span& s, int query) {
  const float* columns =
      s.contest.smallest.data() + static_cast<size_t>(query) * s.job.sampler.stride();
  return bound_span<false>(s.job.sampler, columns, s.span, s.contest.windows.data());
}

RMPSAM_INLINE Lanes high_of(const Span& s, int query) {
  const float* columns =
      s.contest.largest.data() + static_cast<size_t>(query) * s.job.sampler.stride();
  return bound_span<true>(s.job.sampler, columns, s.span, s.contest.windows.data());
}

// What some query has at least on each block; span_best [queries]: on no block it has more, as far
// as bounds can tell.
RMPSAM_INLINE Lanes best_floor(const Span& s, const float* span_best) {
  // The strongest one first: then most of the others cannot add to it.
  const int first = std::max_element(span_best, span_best + s.job.queries) - span_best;
  Lanes best = s.job.scores[first] / inverse_sigmoid_at_most(low_of(s, first));
  float least = smallest_lane(best);
  for (int q = 0; q < s.job.queries; ++q) {
    if (q == first || span_best[q] <= least) continue;
    best = larger(best, s.job.scores[q] / inverse_sigmoid_at_most(low_of(s, q)));
    least = smallest_lane(best);
  }
  return best;
}

// The lists of a span in the making, by block.
struct Lists {
  Lanes bars, tops;
  IntLanes lengths, leaders, rivals;
};

// Adds a query to the lists of the blocks where it matters, and counts those that it claims.
RMPSAM_INLINE void list_query(const Span& s, int query, Lists& lists) {
  const Lanes high = high_of(s, query);
  const Lanes upper = s.job.scores[query] / inverse_sigmoid_at_least(high);
  const IntLanes wins = is_at_least(upper, lists.bars), claims = ~is_negative(high);
  const IntLanes matters = wins | claims;
  if (!join_bits(matters)) return;
  const IntLanes owns = ~is_negative(low_of(s, query));
  int32_t* claimed = s.claimed + static_cast<size_t>(query) * kBlock;
  store_lanes(claimed, load_lanes(claimed) + (owns & s.areas));
  alignas(64) float uppers[kBlock];
  alignas(64) int32_t places[kBlock], sides[kBlock];
  store_lanes(uppers, upper);
  store_lanes(places, lists.lengths);
  store_lanes(sides, -owns - claims);
  Contender* list = s.contest.lists.data() + static_cast<size_t>(s.span) * kBlock * s.job.queries;
  for (int i = 0; i < kBlock; ++i, list += s.job.queries) {
    // Written in any case, and kept if it counts: cheaper than a branch.
    list[places[i]] = {uppers[i], static_cast<uint16_t>(query), static_cast<Side>(sides[i])};
  }
  const IntLanes leads = matters & is_less(lists.tops, upper);
  lists.tops = select(leads, upper, lists.tops);
  lists.leaders = select(leads, lists.lengths, lists.leaders);
  lists.rivals -= wins;
  lists.lengths -= matters;
}

// Turns bounds of logits into bounds of score * sigmoid, both [queries].
RMPSAM_INLINE void weigh(const Job& job, const float* logits, float* uppers) {
  for (int q = 0; q < job.queries; q += kBlock) {
    const Lanes scores = load_lanes(job.scores + q);
    store_lanes(uppers + q, scores / inverse_sigmoid_at_least(load_lanes(logits + q)));
  }
}

RMPSAM_INLINE void list_span(const Span& s) {
  const size_t first = static_cast<size_t>(s.span) * s.job.padded_queries();
  const float* high = s.contest.span_high.data() + first;
  float* upper = s.contest.span_upper.data();
  weigh(s.job, s.contest.span_low.data() + first, upper);
  const Lanes bars = floor_of(best_floor(s, upper));
  const float bar = smallest_lane(bars);
  weigh(s.job, high, upper);
  Lists lists{bars, all_lanes(-1.0f), {}, {}, {}};
  for (int q = 0; q < s.job.queries; ++q) {
    if (upper[q] >= bar || high[q] >= 0.0f) list_query(s, q, lists);
  }
  store_lanes(s.contest.bars.data() + s.span * kBlock, bars);
  store_lanes(s.contest.lengths.data() + s.span * kBlock, lists.lengths);
  store_lanes(s.contest.leaders.data() + s.span * kBlock, lists.leaders);
  store_lanes(s.contest.rivals.data() + s.span * kBlock, lists.rivals);
}

// Lists the contenders of every block of a row. Returns false, with nothing useful listed, if some
// logit is not finite; finite [queries]: 0 for such queries. claimed [queries][kBlock]: see Counts.
RMPSAM_INLINE bool list_contenders(const Job& job, int block_row, Contest& contest,
                                   uint8_t* finite, int32_t* claimed) {
  const Sampler& s = job.sampler;
  bool all_finite = true;
  for (int q = 0; q < job.queries; ++q) {
    float* smallest = contest.smallest.data() + static_cast<size_t>(q) * s.stride();
    float* largest = contest.largest.data() + static_cast<size_t>(q) * s.stride();
    const int next = std::min(q + 2, job.queries - 1);
    if (!bound_columns(s, q, next, block_row, smallest, largest)) {
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
  const int height = s.block_height(block_row);
  for (int span = 0; span < s.spans(); ++span) {
    IntLanes areas;
    for (int i = 0; i < kBlock; ++i) areas[i] = height * s.block_width(span * kBlock + i);
    list_span({job, contest, span, areas, claimed});
  }
  return true;
}

}  // namespace rmpsam
