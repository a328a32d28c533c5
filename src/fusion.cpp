// Panoptic fusion: which query wins each pixel, and how many pixels it won and claimed.

#include "mask_sampler.hpp"
#include "runs.hpp"

namespace {

using namespace rmpsam;

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
  std::vector<float> low, high;    // [queries][blocks of a row]: logit bounds
  std::vector<float> upper, best;  // [queries][blocks], [blocks]: bounds of score * sigmoid
  std::vector<int32_t> rivals;     // [queries]: queries that can win the block at hand
  alignas(64) float value[kBlockArea];
  alignas(64) int32_t code[kBlockArea];

  Work(const Sampler& s, int queries)
      : scratch(s),
        low(static_cast<size_t>(queries) * s.columns.blocks),
        high(low.size()),
        upper(low.size()),
        best(s.columns.blocks),
        rivals(queries) {}
};

struct Job {
  const Sampler& sampler;
  const float* scores;
  int queries;
  uint16_t* codes;  // [height][width]: 2 * winner + (1 if its sigmoid is below 0.5)
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

// A later query takes a pixel only with a strictly larger value: the first of equals wins.
RMPSAM_INLINE void challenge(Work& work, int query, float score, int height) {
  const float* __restrict logits = work.scratch.values;
  for (int i = 0; i < height * kBlock; ++i) {
    const float value = score * sigmoid(logits[i]);
    const int32_t code = 2 * query + (logits[i] < 0.0f);
    const bool wins = value > work.value[i];
    work.value[i] = wins ? value : work.value[i];
    work.code[i] = wins ? code : work.code[i];
  }
}

RMPSAM_INLINE void fuse_block(const Job& job, int block_row, int block, int height, Work& work,
                              Counts& counts) {
  const Sampler& s = job.sampler;
  const int width = std::min(kBlock, s.columns.size - block * kBlock);
  const int stride = s.columns.size, blocks = s.columns.blocks;
  uint16_t* codes = job.codes + static_cast<size_t>(block_row) * kBlock * stride + block * kBlock;
  const float bar = work.best[block] * (1.0f - kBoundSlack);
  int rivals = 0;
  for (int q = 0; q < job.queries; ++q) {
    work.rivals[rivals] = q;
    rivals += work.upper[static_cast<size_t>(q) * blocks + block] >= bar;
  }
  const bool alone = rivals == 1;
  if (!alone) {
    std::fill_n(work.value, kBlockArea, -1.0f);
  }
  int rival = 0;
  for (int q = 0; q < job.queries; ++q) {
    const float low = work.low[static_cast<size_t>(q) * blocks + block];
    const float high = work.high[static_cast<size_t>(q) * blocks + block];
    const bool mixed = low < 0.0f && high >= 0.0f;
    const bool competes = rival < rivals && work.rivals[rival] == q;
    rival += competes;
    if (low >= 0.0f) counts.claimed[q] += static_cast<int64_t>(height) * width;
    if (competes && alone && !mixed) {
      fill_block(codes, stride, height, width, static_cast<uint16_t>(2 * q + (high < 0.0f)));
      continue;
    }
    if (!mixed && !competes) continue;
    sample_block(s, q, block_row, block, height, work.scratch);
    if (mixed) counts.claimed[q] += count_claimed(work.scratch.values, height, width);
    if (competes && alone) {
      for (int i = 0; i < height * kBlock; ++i) {
        work.code[i] = 2 * q + (work.scratch.values[i] < 0.0f);
      }
      store_block(codes, stride, height, width, work.code);
    } else if (competes) {
      challenge(work, q, job.scores[q], height);
    }
  }
  if (!alone) store_block(codes, stride, height, width, work.code);
}

// One row of blocks. Returns false, with nothing useful written, if some logit is not finite.
RMPSAM_CLONES bool fuse_block_row(const Job& job, int block_row, Work& work, Counts& counts) {
  const Sampler& s = job.sampler;
  const int blocks = s.columns.blocks;
  const int height = std::min(kBlock, s.rows.size - block_row * kBlock);
  bool finite = true;
  std::fill(work.best.begin(), work.best.end(), 0.0f);
  for (int q = 0; q < job.queries; ++q) {
    float* __restrict low = work.low.data() + static_cast<size_t>(q) * blocks;
    float* __restrict high = work.high.data() + static_cast<size_t>(q) * blocks;
    float* __restrict upper = work.upper.data() + static_cast<size_t>(q) * blocks;
    float* __restrict best = work.best.data();
    if (!bound_blocks(s, q, block_row, work.scratch, low, high)) {
      counts.finite[q] = 0;
      finite = false;
      continue;
    }
    const float score = job.scores[q];
    for (int b = 0; b < blocks; ++b) {
      upper[b] = score * sigmoid(high[b]);
      best[b] = larger(best[b], score * sigmoid(low[b]));
    }
  }
  if (!finite) return false;
  for (int block = 0; block < blocks; ++block) {
    fuse_block(job, block_row, block, height, work, counts);
  }
  return true;
}

// Adds the runs of equal codes in finished rows to the areas and boxes.
void count_runs(const Job& job, int first_row, int last_row, Counts& counts) {
  const int width = job.sampler.columns.size;
  for (int y = first_row; y < last_row; ++y) {
    const uint16_t* row = job.codes + static_cast<size_t>(y) * width;
    for (int x = 0; x < width;) {
      const int end = rmpsam::run_end(row, x, width);
      const int code = row[x];
      counts.won[code] += end - x;
      int32_t* box = counts.boxes.data() + 4 * code;
      box[0] = std::min(box[0], x);
      box[1] = std::min(box[1], y);
      box[2] = std::max(box[2], end);
      box[3] = std::max(box[3], y + 1);
      x = end;
    }
  }
}

}  // namespace

// Assigns every image pixel to the query with the largest score * sigmoid(logit).
//
// logits [N][h][w] in single precision, of which selection [queries] (ascending places) take part
// with scores [queries] > 0; geometry as make_sampler. Below, queries are counted as selected.
// codes [H][W]: 2 * winner + (1 if the winner's sigmoid is below 0.5).
// won [2 * queries], boxes [2 * queries][4]: by code. claimed [queries]: pixels with sigmoid
// >= 0.5. finite [queries]: 0 if a logit inside the image is NaN or infinite; if any is 0, the
// other outputs mean nothing.
RMPSAM_API int rmpsam_fuse(const float* logits, const int32_t* selection, const float* scores,
                           int32_t queries, const int32_t* geometry, int32_t threads,
                           uint16_t* codes, int64_t* won, int32_t* boxes, int64_t* claimed,
                           uint8_t* finite) {
  return rmpsam::guarded([&]() -> int {
    Sampler sampler;
    if (queries < 1 || queries > 32767 ||
        !make_sampler(logits, selection, geometry, &sampler)) {
      return kBadArgument;
    }
    const Job job{sampler, scores, queries, codes};
    const int strips = sampler.rows.blocks;
    threads = std::max(1, std::min(threads, strips));
    std::vector<Work> work;
    std::vector<Counts> counts;
    for (int i = 0; i < threads; ++i) {
      work.emplace_back(sampler, queries);
      counts.emplace_back(queries);
    }
    std::atomic<bool> all_finite{true};
    parallel_for(strips, threads, [&](int worker, int strip) {
      if (fuse_block_row(job, strip, work[worker], counts[worker])) {
        count_runs(job, strip * kBlock, std::min(sampler.rows.size, (strip + 1) * kBlock),
                   counts[worker]);
      } else {
        all_finite = false;
      }
    });
    Counts total(queries);
    for (const Counts& part : counts) {
      for (int q = 0; q < queries; ++q) {
        total.claimed[q] += part.claimed[q];
        total.finite[q] &= part.finite[q];
      }
      for (int c = 0; c < 2 * queries; ++c) {
        total.won[c] += part.won[c];
        for (int k = 0; k < 2; ++k) {
          total.boxes[4 * c + k] = std::min(total.boxes[4 * c + k], part.boxes[4 * c + k]);
          total.boxes[4 * c + 2 + k] =
              std::max(total.boxes[4 * c + 2 + k], part.boxes[4 * c + 2 + k]);
        }
      }
    }
    std::copy(total.won.begin(), total.won.end(), won);
    std::copy(total.boxes.begin(), total.boxes.end(), boxes);
    std::copy(total.claimed.begin(), total.claimed.end(), claimed);
    std::copy(total.finite.begin(), total.finite.end(), finite);
    return kOk;
  });
}

// Replaces every value of a map by its entry in a table, in place.
RMPSAM_API int rmpsam_relabel(uint16_t* map, int32_t height, int32_t width, const uint16_t* table,
                              int32_t entries, int32_t threads) {
  return rmpsam::guarded([&]() -> int {
    if (height < 1 || width < 1) return kBadArgument;
    std::atomic<int> status{kOk};
    constexpr int kRows = 32;
    parallel_for((height + kRows - 1) / kRows, threads, [&](int, int strip) {
      const int last = std::min(height, (strip + 1) * kRows);
      for (int y = strip * kRows; y < last; ++y) {
        uint16_t* row = map + static_cast<size_t>(y) * width;
        for (int x = 0; x < width;) {
          const int end = rmpsam::run_end(row, x, width);
          if (row[x] >= entries) {
            status = kBadArgument;
            return;
          }
          const uint16_t value = table[row[x]];
          if (value != row[x]) std::fill(row + x, row + end, value);
          x = end;
        }
      }
    });
    return status;
  });
}
