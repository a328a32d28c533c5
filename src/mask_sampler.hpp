// Mask logits at image resolution, without ever making a full-resolution array of them.
//
// The kernels cut the image into small blocks, bound each mask on each block, and compute pixels
// only where the bounds leave the answer open.
#pragma once

#include "resampling.hpp"

#include <cmath>

namespace rmpsam {

// Relative slack of a bound on score * sigmoid(logit): rounding of a sampled logit is below
// 1e-7 * |logit|, and sigmoid is 0 or 1 in single precision beyond |logit| = 90.
constexpr float kBoundSlack = 1e-4f;

// What a query needs at least to win against one that has at least this; below 0, so that every
// query reaches it, where bounds do not hold or numbers lose their precision.
RMPSAM_INLINE Lanes floor_of(Lanes values) { return values * (1.0f - kBoundSlack) - kTiny; }

// Smallest and largest logit of every coarse column, over the coarse rows that a row of blocks
// depends on, into [stride()]. Returns false if one of those logits is not finite. next_query: one
// that will be asked for soon.
RMPSAM_INLINE bool bound_columns(const Sampler& s, int query, int next_query, int block_row,
                                 float* __restrict smallest, float* __restrict largest) {
  const int rows = s.rows.high[block_row] - s.rows.low[block_row] + 1;
  const size_t first = static_cast<size_t>(s.rows.low[block_row]) * s.coarse_width;
  const float *grid = s.grid(query) + first, *next = s.grid(next_query) + first;
  Lanes total = {};
  for (int x = 0; x < s.used_width; x += kBlock) {
    const int count = s.used_width - x;
    // The grids lie too far apart for the processor to guess which rows come next.
    for (int r = 0; r < rows; ++r) __builtin_prefetch(next + x + r * s.coarse_width);
    Lanes low = load_some_lanes(grid + x, count), high = low;
    total += low;
    for (int r = 1; r < rows; ++r) {
      const Lanes row = load_some_lanes(grid + x + static_cast<size_t>(r) * s.coarse_width, count);
      low = smaller(low, row);
      high = larger(high, row);
      total += row;
    }
    store_lanes(smallest + x, low);
    store_lanes(largest + x, high);
  }
  if (!join_bits(~is_finite(total))) return true;  // a sum is finite only if all numbers are
  for (int r = 0; r < rows; ++r) {
    for (int x = 0; x < s.used_width; ++x) {
      if (!std::isfinite(grid[static_cast<size_t>(r) * s.coarse_width + x])) return false;
    }
  }
  return true;
}

// Largest of what bound_columns gave, over the coarse columns of a span and perhaps a few more.
RMPSAM_INLINE float largest_in_span(const Sampler& s, const float* columns, int span) {
  const int last = std::max(0, s.span_last(span) + 1 - kBlock);
  Lanes largest = load_lanes(columns + last);
  for (int x = s.span_first(span); x < last; x += kBlock) {
    largest = larger(largest, load_lanes(columns + x));
  }
  return largest_lane(largest);
}

// Smallest or largest logit that each block of a span depends on, from what bound_columns gave.
// windows [stride()]: room.
template <bool kLargest>
RMPSAM_INLINE Lanes bound_span(const Sampler& s, const float* columns, int span, float* windows) {
  const int first = s.first_window[span * kBlock], last = s.span_last(span);
  for (int level = 0; level < s.levels; ++level) {
    const int step = 1 << level;
    for (int x = first; x <= last; x += kBlock) {  // in place: what is read is not yet written
      const Lanes one = load_lanes(columns + x), other = load_lanes(columns + x + step);
      store_lanes(windows + x, kLargest ? larger(one, other) : smaller(one, other));
    }
    columns = windows;
  }
  const int32_t* one = s.first_window.data() + span * kBlock;
  const int32_t* other = s.last_window.data() + span * kBlock;
  alignas(64) float bounds[kBlock];
  for (int i = 0; i < kBlock; ++i) {
    const float a = columns[one[i]], b = columns[other[i]];
    bounds[i] = kLargest ? larger(a, b) : smaller(a, b);
  }
  return load_lanes(bounds);
}

// The coarse rows that a block depends on, resized along the row, into [most_coarse_rows][kBlock].
// What the image does not reach repeats its last column.
RMPSAM_INLINE void sample_lines(const Sampler& s, int query, int block_row, int block,
                                float* __restrict lines) {
  const int rows = s.rows.high[block_row] - s.rows.low[block_row] + 1;
  const int columns = s.most_coarse_columns;
  const float* __restrict weights =
      s.column_weights.data() + static_cast<size_t>(block) * columns * kBlock;
  const float* __restrict row = s.grid(query) + s.left[block] +
                                static_cast<size_t>(s.rows.low[block_row]) * s.coarse_width;
  for (int r = 0; r < rows; ++r, row += s.coarse_width) {
    Lanes sum = row[0] * load_lanes(weights);
    for (int c = 1; c < columns; ++c) sum += row[c] * load_lanes(weights + c * kBlock);
    store_lanes(lines + r * kBlock, sum);
  }
}

// Logits of one group of rows, [kGroup][kBlock], from the lines of its block; rows that the image
// does not reach repeat its last one.
RMPSAM_INLINE void sample_group(const Sampler& s, int block_row, int group,
                                const float* __restrict lines, float* __restrict values) {
  const size_t place = static_cast<size_t>(block_row) * kGroups + group;
  const float* __restrict weights = s.row_weights.data() + place * s.most_group_rows * kGroup;
  lines += s.first_row[place] * kBlock;
  Lanes line = load_lanes(lines), sums[kGroup];
  for (int y = 0; y < kGroup; ++y) sums[y] = weights[y] * line;
  for (int c = 1; c < s.group_rows[place]; ++c) {
    line = load_lanes(lines + c * kBlock);
    for (int y = 0; y < kGroup; ++y) sums[y] += weights[c * kGroup + y] * line;
  }
  for (int y = 0; y < kGroup; ++y) store_lanes(values + y * kBlock, sums[y]);
}

// Logits of one block, [kBlock][kBlock].
RMPSAM_INLINE void sample_block(const Sampler& s, int query, int block_row, int block,
                                float* __restrict lines, float* __restrict values) {
  sample_lines(s, query, block_row, block, lines);
  for (int g = 0; g < kGroups; ++g) {
    sample_group(s, block_row, g, lines, values + g * kGroupArea);
  }
}

}  // namespace rmpsam
