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

// The pixels of one row of a block. Whole vectors, because what compilers make of short inner loops
// differs by an order of magnitude.
typedef float Lanes __attribute__((vector_size(kBlock * sizeof(float))));

RMPSAM_INLINE Lanes load_lanes(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

RMPSAM_INLINE void store_lanes(float* to, const Lanes& lanes) {
  std::memcpy(to, &lanes, sizeof lanes);
}

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
  int used_width = 1;           // coarse columns that the image depends on; the rest is padding
  int most_coarse_rows = 0;     // that a block depends on
  int most_coarse_columns = 0;  // that a block depends on
  // [column blocks][most_coarse_columns][kBlock]: the column table as a dense one, because adding
  // a few products with 0 takes less time than looking coarse values up one by one.
  std::vector<float> column_weights;
  // The coarse columns of a block are covered by two windows of 2^levels columns.
  int levels = 0;
  std::vector<int32_t> first_window, last_window;  // [column blocks]: where they begin

  const float* grid(int query) const {
    return logits + static_cast<size_t>(selection[query]) * coarse_height * coarse_width;
  }
};

// Finds for every column block two windows of equal length that cover its coarse columns.
inline void lay_windows(Sampler* sampler) {
  const Axis& columns = sampler->columns;
  while ((2 << sampler->levels) < sampler->most_coarse_columns) ++sampler->levels;
  const int length = 1 << sampler->levels;
  for (int b = 0; b < columns.blocks; ++b) {
    const int first = std::min(columns.low[b], sampler->used_width - length);
    sampler->first_window.push_back(first);
    sampler->last_window.push_back(std::max(first, columns.high[b] + 1 - length));
  }
}

inline void spread_columns(Sampler* sampler) {
  const Axis& columns = sampler->columns;
  const size_t stride = static_cast<size_t>(sampler->most_coarse_columns) * kBlock;
  sampler->column_weights.assign(columns.blocks * stride, 0.0f);
  for (int i = 0; i < columns.padded(); ++i) {
    const int block = i / kBlock;
    float* weights = sampler->column_weights.data() + block * stride + i % kBlock;
    for (int t = 0; t < columns.taps; ++t) {
      const size_t tap = static_cast<size_t>(t) * columns.padded() + i;
      weights[(columns.index[tap] - columns.low[block]) * kBlock] += columns.weight[tap];
    }
  }
}

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
  const Axis &rows = sampler->rows, &columns = sampler->columns;
  for (int b = 0; b < rows.blocks; ++b) {
    sampler->most_coarse_rows =
        std::max(sampler->most_coarse_rows, rows.high[b] - rows.low[b] + 1);
  }
  for (int b = 0; b < columns.blocks; ++b) {
    sampler->most_coarse_columns =
        std::max(sampler->most_coarse_columns, columns.high[b] - columns.low[b] + 1);
    sampler->used_width = std::max(sampler->used_width, columns.high[b] + 1);
  }
  lay_windows(sampler);
  spread_columns(sampler);
  return true;
}

// Room that one thread needs for bounds and samples.
struct Scratch {
  std::vector<float> smallest, largest;  // [used width]
  std::vector<float> poison;             // [used width]
  std::vector<float> coarse_rows;        // [most_coarse_rows][kBlock]
  alignas(64) float values[kBlockArea];

  explicit Scratch(const Sampler& s)
      : smallest(s.used_width),
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
  for (int level = 0; level < s.levels; ++level) {
    const int step = 1 << level;
    for (int x = 0; x + step < width; ++x) {  // in place: what is read is not yet written
      smallest[x] = smaller(smallest[x], smallest[x + step]);
      largest[x] = larger(largest[x], largest[x + step]);
    }
  }
  const int32_t* __restrict one = s.first_window.data();
  const int32_t* __restrict other = s.last_window.data();
  for (int b = 0; b < s.columns.blocks; ++b) {
    low[b] = smaller(smallest[one[b]], smallest[other[b]]);
    high[b] = larger(largest[one[b]], largest[other[b]]);
  }
  return true;
}

// Logits of one block into scratch.values, [kBlock][kBlock]; what the image does not reach repeats
// its last row and column.
RMPSAM_INLINE void sample_block(const Sampler& s, int query, int block_row, int block_column,
                                Scratch& scratch) {
  const int first = s.rows.low[block_row], last = s.rows.high[block_row];
  const int left = s.columns.low[block_column];
  const int columns = s.columns.high[block_column] - left + 1;
  const float* weights = s.column_weights.data() +
                         static_cast<size_t>(block_column) * s.most_coarse_columns * kBlock;
  const float* row = s.grid(query) + static_cast<size_t>(first) * s.coarse_width + left;
  float* lines = scratch.coarse_rows.data();
  for (int r = first; r <= last; ++r, row += s.coarse_width) {
    Lanes sum = row[0] * load_lanes(weights);
    for (int c = 1; c < columns; ++c) sum += row[c] * load_lanes(weights + c * kBlock);
    store_lanes(lines + (r - first) * kBlock, sum);
  }
  const int32_t* index = s.rows.index.data() + block_row * kBlock;
  const float* weight = s.rows.weight.data() + block_row * kBlock;
  for (int y = 0; y < kBlock; ++y) {
    Lanes sum = weight[y] * load_lanes(lines + (index[y] - first) * kBlock);
    for (int t = 1; t < s.rows.taps; ++t) {
      const int tap = t * s.rows.padded() + y;
      sum += weight[tap] * load_lanes(lines + (index[tap] - first) * kBlock);
    }
    store_lanes(scratch.values + y * kBlock, sum);
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
