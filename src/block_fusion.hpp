// One block of the panoptic fusion: the queries that can win a pixel of it compete.
//
// The query with the largest bound takes the block first. Every other one is compared with what
// the winners so far have at least in each group of rows and column, and only where it may reach
// that are values computed pixel by pixel.
#pragma once

#include "contenders.hpp"

namespace rmpsam {

// What one thread knows about each query; merged at the end.
struct Counts {
  std::vector<int32_t> claimed;  // [queries][kBlock]: pixels with sigmoid >= 0.5, in any lane
  std::vector<int64_t> won;      // [2 * queries]: by code, see below
  std::vector<int32_t> boxes;    // [2 * queries][4]: x_min, y_min, x_max, y_max, exclusive
  std::vector<uint8_t> finite;   // [queries]

  explicit Counts(int queries)
      : claimed(static_cast<size_t>(queries) * kBlock),
        won(2 * queries),
        boxes(8 * queries),
        finite(queries, 1) {
    for (int i = 0; i < 2 * queries; ++i) {
      boxes[4 * i] = boxes[4 * i + 1] = INT32_MAX;
      boxes[4 * i + 2] = boxes[4 * i + 3] = 0;
    }
  }
};

// Room that one thread needs.
struct Work {
  Contest contest;
  std::vector<float> lines;     // see sample_block
  std::vector<uint16_t> codes;  // [kBlock][width] of the row of blocks, see rmpsam_fuse
  // One block: logits of its leader and of its last rival, and the winners so far with
  // score * sigmoid and code.
  alignas(64) float leader[kBlockArea];
  alignas(64) float rival[kBlockArea];
  alignas(64) float value[kBlockArea];
  alignas(64) int32_t code[kBlockArea];
  bool valued[kGroups];  // whether a group has its values; before, the leader wins all of it
  alignas(64) float floor[kGroups * kBlock];  // bound of the winners' values by group and column

  explicit Work(const Job& job)
      : contest(job),
        lines(static_cast<size_t>(job.sampler.most_coarse_rows) * kBlock),
        codes(static_cast<size_t>(kBlock) * job.sampler.columns.size) {}
};

// One block, and those that compete in it.
struct Duel {
  const Job& job;
  Work& work;
  Counts& counts;
  const Contender* list;  // [length]: queries, ascending
  int length, block_row, block, height, width;

  float score(int k) const { return job.scores[list[k].query]; }
};

RMPSAM_INLINE void fill_block(uint16_t* codes, int stride, int height, int width, uint16_t code) {
  for (int y = 0; y < height; ++y) {
    uint16_t* out = codes + static_cast<size_t>(y) * stride;
    for (int i = 0; i < width; ++i) out[i] = code;
  }
}

RMPSAM_INLINE void store_block(uint16_t* codes, int stride, int height, int width,
                               const int32_t* block) {
  for (int y = 0; y < height; ++y) {
    uint16_t* out = codes + static_cast<size_t>(y) * stride;
    const int32_t* in = block + y * kBlock;
    if (width == kBlock) {
      for (int i = 0; i < kBlock; ++i) out[i] = static_cast<uint16_t>(in[i]);
    } else {
      for (int i = 0; i < width; ++i) out[i] = static_cast<uint16_t>(in[i]);
    }
  }
}

// Least and largest of the rows of a group, by column.
RMPSAM_INLINE Lanes group_least(const float* values) {
  Lanes least = load_lanes(values);
  for (int y = 1; y < kGroup; ++y) least = smaller(least, load_lanes(values + y * kBlock));
  return least;
}

RMPSAM_INLINE Lanes group_largest(const float* values) {
  Lanes largest = load_lanes(values);
  for (int y = 1; y < kGroup; ++y) largest = larger(largest, load_lanes(values + y * kBlock));
  return largest;
}

// Samples the logits of a query, and counts the pixels that it claims if its block is mixed.
RMPSAM_INLINE void sample(const Duel& d, int k, float* logits) {
  const Contender& one = d.list[k];
  sample_block(d.job.sampler, one.query, d.block_row, d.block, d.work.lines.data(), logits);
  if (one.side != kMixed) return;
  IntLanes below = {};
  for (int y = 0; y < d.height; ++y) below += is_negative(load_lanes(logits + y * kBlock));
  IntLanes count = below + d.height;
  for (int i = d.width; i < kBlock; ++i) count[i] = 0;
  int32_t* claimed = d.counts.claimed.data() + static_cast<size_t>(one.query) * kBlock;
  store_lanes(claimed, load_lanes(claimed) + count);
}

// Gives all pixels of a block to one query.
RMPSAM_INLINE void lead(const Duel& d, int k) {
  Work& work = d.work;
  sample(d, k, work.leader);
  const int32_t code = 2 * d.list[k].query;
  for (int y = 0; y < kBlock; ++y) {
    store_lanes(work.code + y * kBlock,
                code - is_negative(load_lanes(work.leader + y * kBlock)));
  }
  for (int g = 0; g < kGroups; ++g) work.valued[g] = false;
}

// Notes what a query needs to win any pixel of a block that has only a leader so far, by group and
// column, and returns the least of it.
RMPSAM_INLINE float raise_floor(const Duel& d, int leader) {
  Work& work = d.work;
  Lanes least = {};
  for (int g = 0; g < kGroups; ++g) {
    const Lanes logits = group_least(work.leader + g * kGroupArea);
    const Lanes floor = floor_of(d.score(leader) / inverse_sigmoid_at_most(logits));
    store_lanes(work.floor + g * kBlock, floor);
    least = g == 0 ? floor : smaller(least, floor);
  }
  return smallest_lane(least);
}

// Gives the pixels of one group to a query where it has more. Of equals the first one wins: a
// query before all that were there takes equals, one behind them does not.
template <bool kTakesEqual>
RMPSAM_INLINE void challenge_group(const Duel& d, int group, int k, int leader) {
  Work& work = d.work;
  const float* __restrict logits = work.rival + group * kGroupArea;
  float* __restrict values = work.value + group * kGroupArea;
  int32_t* __restrict codes = work.code + group * kGroupArea;
  if (!work.valued[group]) {
    const float* __restrict first = work.leader + group * kGroupArea;
    for (int i = 0; i < kGroupArea; i += kBlock) {
      store_lanes(values + i, d.score(leader) * sigmoid(load_lanes(first + i)));
    }
    work.valued[group] = true;
  }
  for (int i = 0; i < kGroupArea; i += kBlock) {
    const Lanes logit = load_lanes(logits + i), value = load_lanes(values + i);
    const Lanes own = d.score(k) * sigmoid(logit);
    const IntLanes wins = kTakesEqual ? is_at_least(own, value) : is_less(value, own);
    store_lanes(values + i, select(wins, own, value));
    const IntLanes code = 2 * d.list[k].query - is_negative(logit);
    store_lanes(codes + i, select(wins, code, load_lanes(codes + i)));
  }
  store_lanes(work.floor + group * kBlock, floor_of(group_least(values)));
}

// Has a query compete with the leader and those that came after it, if it has what is needed.
template <bool kTakesEqual>
RMPSAM_INLINE void meet(const Duel& d, int k, int leader, float needed) {
  Work& work = d.work;
  const bool competes = d.list[k].upper >= needed;
  if (!competes && d.list[k].side != kMixed) return;
  sample(d, k, work.rival);
  if (!competes) return;
  IntLanes bits = {};
  for (int g = 0; g < kGroups; ++g) {
    // score * sigmoid >= floor, without a division
    const Lanes inverse = inverse_sigmoid_at_least(group_largest(work.rival + g * kGroupArea));
    const Lanes floor = load_lanes(work.floor + g * kBlock);
    bits |= is_at_least(all_lanes(d.score(k)), floor * inverse) & (1 << g);
  }
  for (uint32_t reached = join_bits(bits); reached != 0; reached &= reached - 1) {
    challenge_group<kTakesEqual>(d, __builtin_ctz(reached), k, leader);
  }
}

RMPSAM_INLINE void fuse_block(const Duel& d) {
  const int stride = d.job.sampler.columns.size;
  uint16_t* codes = d.work.codes.data() + d.block * kBlock;
  const Contest& contest = d.work.contest;
  const int leader = contest.leaders[d.block];
  const bool alone = contest.rivals[d.block] == 1;
  const bool plain = alone && d.list[leader].side != kMixed;
  float needed = INFINITY;
  if (!plain) lead(d, leader);
  if (!alone) needed = larger(contest.bars[d.block], raise_floor(d, leader));
  for (int k = leader - 1; k >= 0; --k) meet<true>(d, k, leader, needed);
  for (int k = leader + 1; k < d.length; ++k) meet<false>(d, k, leader, needed);
  if (plain) {
    const int unsure = d.list[leader].side == kBelow;
    fill_block(codes, stride, d.height, d.width,
               static_cast<uint16_t>(2 * d.list[leader].query + unsure));
  } else {
    store_block(codes, stride, d.height, d.width, d.work.code);
  }
}

}  // namespace rmpsam
