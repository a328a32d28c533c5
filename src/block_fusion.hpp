// One block of the panoptic fusion: the queries that can win a pixel of it compete.
//
// The query with the largest bound takes the block first. Every other one is compared with what
// the winners so far have at least in each group of rows and column, and only where it may reach
// that are values computed pixel by pixel.
#pragma once

#include "mask_sampler.hpp"

namespace rmpsam {

constexpr int kGroup = 4;  // rows of a block that are decided together
constexpr int kGroups = kBlock / kGroup;
constexpr int kGroupArea = kGroup * kBlock;

// What one thread knows about each query; merged at the end.
struct Counts {
  std::vector<int64_t> claimed;  // [queries]: pixels with sigmoid >= 0.5
  std::vector<int64_t> won;      // [2 * queries]: by code, see below
  std::vector<int32_t> boxes;    // [2 * queries][4]: x_min, y_min, x_max, y_max, exclusive
  std::vector<uint8_t> finite;   // [queries]

  explicit Counts(int queries)
      : claimed(queries, 0), won(2 * queries, 0), boxes(8 * queries), finite(queries, 1) {
    for (int i = 0; i < 2 * queries; ++i) {
      boxes[4 * i] = boxes[4 * i + 1] = INT32_MAX;
      boxes[4 * i + 2] = boxes[4 * i + 3] = 0;
    }
  }
};

// Room that one thread needs beside the sampler's.
struct Work {
  Scratch scratch;
  std::vector<float> low, high;  // [queries][blocks of a row]: logit bounds
  std::vector<float> upper;      // [queries][blocks]: bound of score * sigmoid
  std::vector<float> best;       // [blocks]: what the winner of every pixel has at least
  std::vector<uint8_t> marks;    // [blocks, up to a multiple of 8]: whether a query matters there
  std::vector<uint16_t> lists;   // [blocks][queries]: the queries that matter, ascending
  std::vector<int32_t> lengths;  // [blocks]: of the lists
  std::vector<uint16_t> codes;   // [kBlock][width] of the row of blocks, see rmpsam_fuse
  // One block: logits of its first leader, and winners so far with score * sigmoid and code.
  alignas(64) float leader[kBlockArea];
  alignas(64) float value[kBlockArea];
  alignas(64) int32_t code[kBlockArea];
  bool valued[kGroups];  // whether a group has its values; before, the leader wins all of it
  alignas(64) float floor[kGroups * kBlock];  // bound of the winners' values by group and column

  Work(const Sampler& s, int queries)
      : scratch(s),
        low(static_cast<size_t>(queries) * s.columns.blocks),
        high(low.size()),
        upper(low.size()),
        best(s.columns.blocks),
        marks((s.columns.blocks + 7) / 8 * 8),
        lists(low.size() + 1),
        lengths(s.columns.blocks),
        codes(static_cast<size_t>(kBlock) * s.columns.size) {}
};

struct Job {
  const Sampler& sampler;
  const float* scores;
  int queries;
};

RMPSAM_INLINE int64_t count_claimed(const float* values, int height, int width) {
  int32_t lanes[kBlock] = {};
  for (int y = 0; y < height; ++y) {
    for (int i = 0; i < kBlock; ++i) {
      lanes[i] += (values[y * kBlock + i] >= 0.0f) & (i < width);
    }
  }
  int64_t total = 0;
  for (int i = 0; i < kBlock; ++i) total += lanes[i];
  return total;
}

RMPSAM_INLINE void fill_block(uint16_t* codes, int stride, int height, int width, uint16_t code) {
  for (int y = 0; y < height; ++y) std::fill_n(codes + static_cast<size_t>(y) * stride, width, code);
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
  for (int y = 1; y < kGroup; ++y) {
    const Lanes row = load_lanes(values + y * kBlock);
    least = row < least ? row : least;
  }
  return least;
}

RMPSAM_INLINE Lanes group_largest(const float* values) {
  Lanes largest = load_lanes(values);
  for (int y = 1; y < kGroup; ++y) {
    const Lanes row = load_lanes(values + y * kBlock);
    largest = row > largest ? row : largest;
  }
  return largest;
}

// Gives all pixels of a block to the query whose logits were sampled last.
RMPSAM_INLINE void lead(int query, float score, Work& work) {
  std::memcpy(work.leader, work.scratch.values, sizeof work.leader);
  for (int i = 0; i < kBlockArea; ++i) work.code[i] = 2 * query + (work.leader[i] < 0.0f);
  for (int g = 0; g < kGroups; ++g) {
    store_lanes(work.floor + g * kBlock, group_least(work.leader + g * kGroupArea));
    work.valued[g] = false;
  }
  for (int i = 0; i < kGroups * kBlock; ++i) {
    work.floor[i] = score * sigmoid(work.floor[i]) * (1.0f - kBoundSlack);
  }
}

// What a query needs to win any pixel of a block.
RMPSAM_INLINE float least_floor(const Work& work) {
  alignas(64) float least[kBlock];
  store_lanes(least, group_least(work.floor));
  for (int step = kBlock / 2; step > 0; step /= 2) {
    for (int i = 0; i < step; ++i) least[i] = smaller(least[i], least[i + step]);
  }
  return least[0];
}

// Gives the pixels of one group to a query where it has more. Of equals the first one wins: a
// query before all that were there takes equals, one behind them does not.
template <bool kTakesEqual>
RMPSAM_INLINE void challenge_group(int group, int query, float score, float leader_score,
                                   Work& work) {
  const int offset = group * kGroupArea;
  const float* __restrict logits = work.scratch.values + offset;
  float* __restrict value = work.value + offset;
  int32_t* __restrict code = work.code + offset;
  if (!work.valued[group]) {
    const float* __restrict leader = work.leader + offset;
    for (int i = 0; i < kGroupArea; ++i) value[i] = leader_score * sigmoid(leader[i]);
    work.valued[group] = true;
  }
  alignas(64) float own[kGroupArea];
  for (int i = 0; i < kGroupArea; ++i) own[i] = score * sigmoid(logits[i]);
  for (int i = 0; i < kGroupArea; ++i) {
    const bool wins = kTakesEqual ? own[i] >= value[i] : own[i] > value[i];
    const int32_t own_code = 2 * query + (logits[i] < 0.0f);
    code[i] = wins ? own_code : code[i];
    value[i] = wins ? own[i] : value[i];
  }
  store_lanes(work.floor + group * kBlock, group_least(value) * (1.0f - kBoundSlack));
}

// Has the query whose logits were sampled last compete for the groups where it can win a pixel.
template <bool kTakesEqual>
RMPSAM_INLINE void challenge(int query, float score, float leader_score, Work& work) {
  alignas(64) float peak[kGroups * kBlock];
  alignas(64) int32_t reaches[kGroups * kBlock];
  for (int g = 0; g < kGroups; ++g) {
    store_lanes(peak + g * kBlock, group_largest(work.scratch.values + g * kGroupArea));
  }
  for (int i = 0; i < kGroups * kBlock; ++i) {
    reaches[i] = score * sigmoid(peak[i]) >= work.floor[i];
  }
  for (int g = 0; g < kGroups; ++g) {
    int any = 0;
    for (int i = 0; i < kBlock; ++i) any |= reaches[g * kBlock + i];
    if (any) challenge_group<kTakesEqual>(g, query, score, leader_score, work);
  }
}

// One block, and those of the listed queries that matter in it.
struct Duel {
  const Job& job;
  Work& work;
  Counts& counts;
  const uint16_t* list;  // [length]: queries, ascending
  int length, block_row, block, height, width;

  size_t bound(int k) const {
    return static_cast<size_t>(list[k]) * job.sampler.columns.blocks + block;
  }
  bool mixed(int k) const { return work.low[bound(k)] < 0.0f && work.high[bound(k)] >= 0.0f; }
  float upper(int k) const { return work.upper[bound(k)]; }
  float score(int k) const { return job.scores[list[k]]; }
};

RMPSAM_INLINE void sample(const Duel& d, int k) {
  sample_block(d.job.sampler, d.list[k], d.block_row, d.block, d.work.scratch);
  if (d.mixed(k)) {
    d.counts.claimed[d.list[k]] += count_claimed(d.work.scratch.values, d.height, d.width);
  }
}

// Has query k compete with the leader and those that came after it, if it has what is needed.
template <bool kTakesEqual>
RMPSAM_INLINE void meet(const Duel& d, int k, int leader, float needed) {
  const bool competes = d.upper(k) >= needed;
  if (!competes && !d.mixed(k)) return;
  sample(d, k);
  if (competes) challenge<kTakesEqual>(d.list[k], d.score(k), d.score(leader), d.work);
}

RMPSAM_INLINE void fuse_block(const Duel& d) {
  const int stride = d.job.sampler.columns.size;
  uint16_t* codes = d.work.codes.data() + d.block * kBlock;
  const float bar = d.work.best[d.block] * (1.0f - kBoundSlack);
  int rivals = 0, leader = 0;
  for (int k = 0; k < d.length; ++k) {
    rivals += d.upper(k) >= bar;
    if (d.upper(k) > d.upper(leader)) leader = k;
    if (d.work.low[d.bound(k)] >= 0.0f) d.counts.claimed[d.list[k]] += d.height * d.width;
  }
  const bool plain = rivals == 1 && !d.mixed(leader);
  float needed = INFINITY;
  if (!plain) {
    sample(d, leader);
    lead(d.list[leader], d.score(leader), d.work);
    if (rivals > 1) needed = larger(bar, least_floor(d.work));
  }
  for (int k = leader - 1; k >= 0; --k) meet<true>(d, k, leader, needed);
  for (int k = leader + 1; k < d.length; ++k) meet<false>(d, k, leader, needed);
  if (plain) {
    const int unsure = d.work.high[d.bound(leader)] < 0.0f;
    fill_block(codes, stride, d.height, d.width,
               static_cast<uint16_t>(2 * d.list[leader] + unsure));
  } else {
    store_block(codes, stride, d.height, d.width, d.work.code);
  }
}

}  // namespace rmpsam
