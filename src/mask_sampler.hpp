// Mask logits at image resolution, without ever making a full-resolution array of them.
//
// A coarse logit grid is resized (bilinear) to the padded network input, cropped to the resized
// image and resized (bilinear) to the image. Both steps are linear and separable, so per axis they
// are one table of at most four taps: weights that are not negative and add up to one. Every value
// of an image pixel is therefore a convex combination of few coarse logits, and the smallest and
// largest of those logits bound it. The kernels cut the image into small blocks, bound each mask
// on each block, and compute pixels only where the bounds leave the answer open.
#pragma once

#include <cmath>
#include <cstring>

#include "kernel_support.hpp"

namespace rmpsam {

constexpr int kBlock = 16;  // side of a block, pixels; a multiple of every vector width
constexpr int kBlockArea = kBlock * kBlock;
constexpr int kMaxTaps = 4;

// Relative slack of a bound on score * sigmoid(logit): rounding of a sampled logit is below
// 1e-7 * |logit|, and sigmoid is 0 or 1 in single precision beyond |logit| = 90.
constexpr float kBoundSlack = 1e-4f;

// Resampling table of one axis, padded to whole blocks by repeating the last position.
struct Axis {
  int size = 0;    // image positions
  int blocks = 0;  // blocks over the axis
  int taps = 1;
  std::vector<int32_t> index;  // [taps][blocks * kBlock]: coarse position
  std::vector<float> weight;   // [taps][blocks * kBlock]
  std::vector<int32_t> low;    // [blocks]: first coarse position that a block touches
  std::vector<int32_t> high;   // [blocks]: last one

  int padded() const { return blocks * kBlock; }
};

struct Pair {
  int first, second;
  float weight;  // of second; first has 1 - weight
};

// Half-pixel bilinear taps in single precision, with the rounding of the usual tensor libraries.
inline Pair bilinear_taps(int position, int from, int to) {
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  const float source = std::max(0.0f, scale * (static_cast<float>(position) + 0.5f) - 0.5f);
  const int first = std::min(static_cast<int>(source), from - 1);
  const float fraction = std::min(1.0f, std::max(0.0f, source - static_cast<float>(first)));
  return {first, std::min(first + 1, from - 1), fraction};
}

inline Axis make_axis(int coarse, int padded, int resized, int image) {
  Axis axis;
  axis.size = image;
  axis.blocks = (image + kBlock - 1) / kBlock;
  const int n = axis.padded();
  axis.index.assign(static_cast<size_t>(kMaxTaps) * n, 0);
  axis.weight.assign(static_cast<size_t>(kMaxTaps) * n, 0.0f);
  axis.low.assign(axis.blocks, coarse - 1);
  axis.high.assign(axis.blocks, 0);
  for (int i = 0; i < n; ++i) {
    int positions[kMaxTaps];
    double weights[kMaxTaps];
    int taps = 0;
    const auto add = [&](int position, double weight) {
      if (weight <= 0.0) return;
      for (int t = 0; t < taps; ++t) {
        if (positions[t] == position) {
          weights[t] += weight;
          return;
        }
      }
      positions[taps] = position;
      weights[taps++] = weight;
    };
    const Pair outer = bilinear_taps(std::min(i, image - 1), resized, image);
    for (int side = 0; side < 2; ++side) {
      const double share = side ? outer.weight : 1.0 - outer.weight;
      const Pair inner = bilinear_taps(side ? outer.second : outer.first, coarse, padded);
      add(inner.first, share * (1.0 - inner.weight));
      add(inner.second, share * inner.weight);
    }
    const int block = i / kBlock;
    for (int t = 0; t < kMaxTaps; ++t) {
      const bool used = t < taps;
      axis.index[static_cast<size_t>(t) * n + i] = used ? positions[t] : positions[0];
      axis.weight[static_cast<size_t>(t) * n + i] = used ? static_cast<float>(weights[t]) : 0.0f;
      if (!used) continue;
      axis.low[block] = std::min(axis.low[block], positions[t]);
      axis.high[block] = std::max(axis.high[block], positions[t]);
    }
    axis.taps = std::max(axis.taps, taps);
  }
  return axis;
}

// Where the masks come from and where they go; sizes are (height, width) pairs.
struct Sampler {
  const float* logits;       // [N][coarse height][coarse width]
  const int32_t* selection;  // which of them take part; a "query" below is a place in this list
  int coarse_height, coarse_width;
  Axis rows, columns;
  int used_width = 1;        // coarse columns that the image depends on; the rest is padding
  int levels = 1;            // of the running minimum that answers column windows
  int most_coarse_rows = 0;  // that a block depends on

  const float* grid(int query) const {
    return logits + static_cast<size_t>(selection[query]) * coarse_height * coarse_width;
  }
};

// geometry: coarse h, w, padded h, w, resized h, w, image h, w
inline bool make_sampler(const float* logits, const int32_t* selection, const int32_t* geometry,
                         Sampler* sampler) {
  for (int i = 0; i < 8; ++i) {
    if (geometry[i] < 1 || geometry[i] > (1 << 15)) return false;
  }
  if (geometry[4] > geometry[2] || geometry[5] > geometry[3]) return false;
  sampler->logits = logits;
  sampler->selection = selection;
  sampler->coarse_height = geometry[0];
  sampler->coarse_width = geometry[1];
  sampler->rows = make_axis(geometry[0], geometry[2], geometry[4], geometry[6]);
  sampler->columns = make_axis(geometry[1], geometry[3], geometry[5], geometry[7]);
  int widest = 1;
  for (int b = 0; b < sampler->columns.blocks; ++b) {
    widest = std::max(widest, sampler->columns.high[b] - sampler->columns.low[b] + 1);
    sampler->used_width = std::max(sampler->used_width, sampler->columns.high[b] + 1);
  }
  while ((2 << (sampler->levels - 1)) <= widest) ++sampler->levels;
  for (int b = 0; b < sampler->rows.blocks; ++b) {
    sampler->most_coarse_rows = std::max(
        sampler->most_coarse_rows, sampler->rows.high[b] - sampler->rows.low[b] + 1);
  }
  return true;
}

// Room that one thread needs for bounds and samples.
struct Scratch {
  std::vector<float> smallest, largest;  // [levels][used width]
  std::vector<float> poison;             // [used width]
  std::vector<float> coarse_rows;        // [most_coarse_rows][kBlock]
  alignas(64) float values[kBlockArea];

  explicit Scratch(const Sampler& s)
      : smallest(static_cast<size_t>(s.levels) * s.used_width),
        largest(smallest.size()),
        poison(s.used_width),
        coarse_rows(static_cast<size_t>(s.most_coarse_rows) * kBlock) {}
};

RMPSAM_INLINE float smaller(float a, float b) { return a < b ? a : b; }
RMPSAM_INLINE float larger(float a, float b) { return a > b ? a : b; }

// Smallest and largest logit that each block of one block row depends on.
// Returns false if one of those logits is not finite.
RMPSAM_INLINE bool bound_blocks(const Sampler& s, int query, int block_row, Scratch& scratch,
                                float* __restrict low, float* __restrict high) {
  const int width = s.used_width;
  const int first = s.rows.low[block_row], last = s.rows.high[block_row];
  float* __restrict smallest = scratch.smallest.data();
  float* __restrict largest = scratch.largest.data();
  float* __restrict poison = scratch.poison.data();
  const float* row = s.grid(query) + static_cast<size_t>(first) * s.coarse_width;
  std::memcpy(smallest, row, sizeof(float) * width);
  std::memcpy(largest, row, sizeof(float) * width);
  for (int x = 0; x < width; ++x) poison[x] = 0.0f * row[x];
  for (int r = first + 1; r <= last; ++r) {
    row += s.coarse_width;
    for (int x = 0; x < width; ++x) {
      smallest[x] = smaller(row[x], smallest[x]);
      largest[x] = larger(row[x], largest[x]);
      poison[x] += 0.0f * row[x];  // stays 0, or becomes NaN for good
    }
  }
  int poisoned = 0;
  for (int x = 0; x < width; ++x) poisoned |= poison[x] != 0.0f;
  if (poisoned) return false;
  for (int level = 1; level < s.levels; ++level) {
    const int step = 1 << (level - 1);
    const float* small_in = smallest + static_cast<size_t>(level - 1) * width;
    const float* large_in = largest + static_cast<size_t>(level - 1) * width;
    float* __restrict small_out = smallest + static_cast<size_t>(level) * width;
    float* __restrict large_out = largest + static_cast<size_t>(level) * width;
    for (int x = 0; x + 2 * step <= width; ++x) {
      small_out[x] = smaller(small_in[x], small_in[x + step]);
      large_out[x] = larger(large_in[x], large_in[x + step]);
    }
  }
  for (int b = 0; b < s.columns.blocks; ++b) {
    const int from = s.columns.low[b], length = s.columns.high[b] - from + 1;
    const int level = 31 - __builtin_clz(static_cast<unsigned>(length));
    const float* small_in = smallest + static_cast<size_t>(level) * width;
    const float* large_in = largest + static_cast<size_t>(level) * width;
    const int other = from + length - (1 << level);
    low[b] = smaller(small_in[from], small_in[other]);
    high[b] = larger(large_in[from], large_in[other]);
  }
  return true;
}

// Logits of one block into scratch.values ([kBlock][kBlock], `height` rows are filled).
RMPSAM_INLINE void sample_block(const Sampler& s, int query, int block_row, int block_column,
                                int height, Scratch& scratch) {
  const int first = s.rows.low[block_row], last = s.rows.high[block_row];
  const int column_stride = s.columns.padded(), row_stride = s.rows.padded();
  const int32_t* index = s.columns.index.data() + block_column * kBlock;
  const float* weight = s.columns.weight.data() + block_column * kBlock;
  const float* grid = s.grid(query);
  float* __restrict lines = scratch.coarse_rows.data();
  for (int r = first; r <= last; ++r) {
    const float* __restrict row = grid + static_cast<size_t>(r) * s.coarse_width;
    float* __restrict line = lines + (r - first) * kBlock;
    for (int i = 0; i < kBlock; ++i) line[i] = weight[i] * row[index[i]];
    for (int t = 1; t < s.columns.taps; ++t) {
      const int32_t* __restrict at = index + t * column_stride;
      const float* __restrict by = weight + t * column_stride;
      for (int i = 0; i < kBlock; ++i) line[i] += by[i] * row[at[i]];
    }
  }
  const int32_t* row_index = s.rows.index.data() + block_row * kBlock;
  const float* row_weight = s.rows.weight.data() + block_row * kBlock;
  for (int y = 0; y < height; ++y) {
    float sum[kBlock];
    const float* line = lines + (row_index[y] - first) * kBlock;
    for (int i = 0; i < kBlock; ++i) sum[i] = row_weight[y] * line[i];
    for (int t = 1; t < s.rows.taps; ++t) {
      line = lines + (row_index[t * row_stride + y] - first) * kBlock;
      const float by = row_weight[t * row_stride + y];
      for (int i = 0; i < kBlock; ++i) sum[i] += by * line[i];
    }
    float* __restrict out = scratch.values + y * kBlock;
    for (int i = 0; i < kBlock; ++i) out[i] = sum[i];
  }
}

// Logistic function in single precision: exact 1 and 0 in saturation, about 2 ulp elsewhere.
// No library call and no branch, so that loops over it vectorise.
RMPSAM_INLINE float sigmoid(float x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  float z = smaller(larger(-x, -87.0f), 89.0f);
  const float shifted = z * 1.44269504f + kShift;
  const float n = shifted - kShift;
  int32_t exponent;
  std::memcpy(&exponent, &shifted, sizeof exponent);
  exponent = (exponent - 0x4B400000 + 127) << 23;  // z > 88.4 gives infinity, as it should
  float power;
  std::memcpy(&power, &exponent, sizeof power);
  z = (z - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * z + 1.3981999507e-3f;
  p = p * z + 8.3334519073e-3f;
  p = p * z + 4.1665795894e-2f;
  p = p * z + 1.6666665459e-1f;
  p = p * z + 5.0000001201e-1f;
  p = (p * z * z + z + 1.0f) * power;
  return 1.0f / (1.0f + p);
}

}  // namespace rmpsam
