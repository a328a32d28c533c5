// How image positions are made of coarse logits: the tables of a bilinear resize.
//
// A coarse logit grid is resized (bilinear) to the padded network input, cropped to the resized
// image and resized (bilinear) to the image. Both steps are linear and separable, so per axis they
// are one table of at most four taps: weights that are not negative and add up to one. Every value
// of an image pixel is therefore a convex combination of few coarse logits, and the smallest and
// largest of those logits bound it.
#pragma once

#include "lanes.hpp"

namespace rmpsam {

constexpr int kMaxTaps = 4;

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
//
// The tables of weights are dense: adding a few products with 0 takes less time than looking the
// coarse values up one by one.
struct Sampler {
  const float* logits;       // [N][coarse height][coarse width]
  const int32_t* selection;  // which of them take part; a "query" below is a place in this list
  int coarse_height, coarse_width;
  Axis rows, columns;
  int used_width = 1;           // coarse columns that the image depends on; the rest is padding
  int most_coarse_rows = 0;     // that a block depends on
  int most_coarse_columns = 0;  // that a block depends on
  int most_group_rows = 0;      // coarse rows that a group of rows depends on
  std::vector<int32_t> left;    // [column blocks]: first of most_coarse_columns coarse columns
  std::vector<float> column_weights;  // [column blocks][most_coarse_columns][kBlock]
  // Of every group of rows the coarse rows, counted from the first one of the block.
  std::vector<int32_t> first_row, group_rows;  // [row blocks][kGroups]
  std::vector<float> row_weights;  // [row blocks][kGroups][most_group_rows][kGroup]
  // The coarse columns of a block are covered by two windows of 2^levels columns.
  int levels = 0;
  std::vector<int32_t> first_window, last_window;  // [spans][kBlock]: where they begin

  const float* grid(int query) const {
    return logits + static_cast<size_t>(selection[query]) * coarse_height * coarse_width;
  }
  // Pixels of a block, of which the last ones are cut; 0 behind the last one.
  int block_height(int row) const { return cut(rows.size - row * kBlock); }
  int block_width(int column) const { return cut(columns.size - column * kBlock); }
  static int cut(int rest) { return std::max(0, std::min(kBlock, rest)); }
  // A span is kBlock column blocks; the last one is filled up with the last block.
  int spans() const { return (columns.blocks + kBlock - 1) / kBlock; }
  int span_first(int span) const { return columns.low[span * kBlock]; }
  int span_last(int span) const {
    return columns.high[std::min(span * kBlock + kBlock, columns.blocks) - 1];
  }
  // Room for used_width numbers that are read as vectors, up to a window behind the last one.
  int stride() const { return (used_width + (1 << levels) + 2 * kBlock - 1) / kBlock * kBlock; }
};

// Finds for every column block two windows of equal length that cover its coarse columns.
inline void lay_windows(Sampler* sampler) {
  const Axis& columns = sampler->columns;
  while ((2 << sampler->levels) < sampler->most_coarse_columns) ++sampler->levels;
  const int length = 1 << sampler->levels;
  for (int i = 0; i < sampler->spans() * kBlock; ++i) {
    const int block = std::min(i, columns.blocks - 1);
    const int first = std::min(columns.low[block], sampler->used_width - length);
    sampler->first_window.push_back(first);
    sampler->last_window.push_back(std::max(first, columns.high[block] + 1 - length));
  }
}

inline void spread_columns(Sampler* sampler) {
  const Axis& columns = sampler->columns;
  const size_t stride = static_cast<size_t>(sampler->most_coarse_columns) * kBlock;
  sampler->column_weights.assign(columns.blocks * stride, 0.0f);
  for (int b = 0; b < columns.blocks; ++b) {
    sampler->left.push_back(
        std::min(columns.low[b], sampler->used_width - sampler->most_coarse_columns));
  }
  for (int i = 0; i < columns.padded(); ++i) {
    const int block = i / kBlock;
    float* weights = sampler->column_weights.data() + block * stride + i % kBlock;
    for (int t = 0; t < columns.taps; ++t) {
      const size_t tap = static_cast<size_t>(t) * columns.padded() + i;
      weights[(columns.index[tap] - sampler->left[block]) * kBlock] += columns.weight[tap];
    }
  }
}

inline void spread_rows(Sampler* sampler) {
  const Axis& rows = sampler->rows;
  const auto place = [&](int tap, int y) {
    return rows.index[static_cast<size_t>(tap) * rows.padded() + y] - rows.low[y / kBlock];
  };
  for (int first = 0; first < rows.padded(); first += kGroup) {
    int low = INT32_MAX, high = 0;
    for (int y = first; y < first + kGroup; ++y) {
      for (int t = 0; t < rows.taps; ++t) {
        low = std::min(low, place(t, y));
        high = std::max(high, place(t, y));
      }
    }
    sampler->first_row.push_back(low);
    sampler->group_rows.push_back(high - low + 1);
    sampler->most_group_rows = std::max(sampler->most_group_rows, high - low + 1);
  }
  const size_t stride = static_cast<size_t>(sampler->most_group_rows) * kGroup;
  sampler->row_weights.assign(rows.padded() / kGroup * stride, 0.0f);
  for (int y = 0; y < rows.padded(); ++y) {
    float* weights = sampler->row_weights.data() + y / kGroup * stride + y % kGroup;
    for (int t = 0; t < rows.taps; ++t) {
      weights[(place(t, y) - sampler->first_row[y / kGroup]) * kGroup] +=
          rows.weight[static_cast<size_t>(t) * rows.padded() + y];
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
  spread_rows(sampler);
  return true;
}

}  // namespace rmpsam
