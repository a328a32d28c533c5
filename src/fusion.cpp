// Panoptic fusion: which query wins each pixel, and how many pixels it won and claimed.

#include "block_fusion.hpp"
#include "runs.hpp"

namespace {

using namespace rmpsam;

struct Runs {
  std::vector<uint16_t> codes;
  std::vector<uint32_t> lengths;

  void add(uint16_t code, uint32_t length) {
    if (!codes.empty() && codes.back() == code) {
      lengths.back() += length;
    } else {
      codes.push_back(code);
      lengths.push_back(length);
    }
  }
};

// Lists for every block of a row the queries that can win a pixel of it or claim one.
RMPSAM_INLINE void list_queries(const Job& job, Work& work) {
  const int blocks = job.sampler.columns.blocks;
  const float* __restrict best = work.best.data();
  uint8_t* __restrict marks = work.marks.data();
  std::fill(work.lengths.begin(), work.lengths.end(), 0);
  for (int q = 0; q < job.queries; ++q) {
    const float* __restrict high = work.high.data() + static_cast<size_t>(q) * blocks;
    const float* __restrict upper = work.upper.data() + static_cast<size_t>(q) * blocks;
    for (int b = 0; b < blocks; ++b) {
      marks[b] = (upper[b] >= best[b] * (1.0f - kBoundSlack)) | (high[b] >= 0.0f);
    }
    for (int first = 0; first < blocks; first += 8) {
      uint64_t any;
      std::memcpy(&any, marks + first, sizeof any);
      if (any == 0) continue;  // most queries matter in few blocks
      for (int b = first; b < std::min(first + 8, blocks); ++b) {
        // Written in any case, and kept if it counts: cheaper than a branch.
        work.lists[static_cast<size_t>(b) * job.queries + work.lengths[b]] =
            static_cast<uint16_t>(q);
        work.lengths[b] += marks[b];
      }
    }
  }
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
  list_queries(job, work);
  for (int block = 0; block < blocks; ++block) {
    const uint16_t* list = work.lists.data() + static_cast<size_t>(block) * job.queries;
    const int width = std::min(kBlock, s.columns.size - block * kBlock);
    fuse_block({job, work, counts, list, work.lengths[block], block_row, block, height, width});
  }
  return true;
}

// Takes the finished rows of a row of blocks as runs, and adds them to the areas and boxes.
void take_runs(const Job& job, int block_row, const Work& work, Runs& runs, Counts& counts) {
  const int width = job.sampler.columns.size, first = block_row * kBlock;
  for (int y = first; y < std::min(job.sampler.rows.size, first + kBlock); ++y) {
    const uint16_t* row = work.codes.data() + static_cast<size_t>(y - first) * width;
    for (int x = 0; x < width;) {
      const int end = rmpsam::run_end(row, x, width);
      const uint16_t code = row[x];
      runs.add(code, static_cast<uint32_t>(end - x));
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

// Adds the counts of all threads.
Counts sum_counts(const std::vector<Counts>& parts, int queries) {
  Counts total(queries);
  for (const Counts& part : parts) {
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
  return total;
}

// Writes the runs of all strips one behind the other, and returns how many there are.
int64_t join_runs(const std::vector<Runs>& strips, uint16_t* codes, uint32_t* lengths) {
  int64_t count = 0;
  for (const Runs& strip : strips) {
    size_t from = 0;
    if (count > 0 && !strip.codes.empty() && strip.codes[0] == codes[count - 1]) {
      lengths[count - 1] += strip.lengths[0];
      from = 1;
    }
    std::copy(strip.codes.begin() + from, strip.codes.end(), codes + count);
    std::copy(strip.lengths.begin() + from, strip.lengths.end(), lengths + count);
    count += static_cast<int64_t>(strip.codes.size() - from);
  }
  return count;
}

}  // namespace

// Assigns every image pixel to the query with the largest score * sigmoid(logit).
//
// logits [N][h][w] in single precision, of which selection [queries] (ascending places) take part
// with scores [queries] > 0; geometry as make_sampler. Below, queries are counted as selected.
// The code of a pixel is 2 * winner + (1 if the winner's sigmoid is below 0.5). codes, lengths:
// the codes of the image as runs in row-major order, of which a run may continue in the next row;
// there is room for H * W, *runs receives how many were written.
// won [2 * queries], boxes [2 * queries][4]: by code. claimed [queries]: pixels with sigmoid
// >= 0.5. finite [queries]: 0 if a logit inside the image is NaN or infinite; if any is 0, the
// other outputs mean nothing.
RMPSAM_API int rmpsam_fuse(const float* logits, const int32_t* selection, const float* scores,
                           int32_t queries, const int32_t* geometry, int32_t threads,
                           uint16_t* codes, uint32_t* lengths, int64_t* runs, int64_t* won,
                           int32_t* boxes, int64_t* claimed, uint8_t* finite) {
  return rmpsam::guarded([&]() -> int {
    Sampler sampler;
    if (queries < 1 || queries > 32767 ||
        !make_sampler(logits, selection, geometry, &sampler)) {
      return kBadArgument;
    }
    const Job job{sampler, scores, queries};
    const int strips = sampler.rows.blocks;
    threads = std::max(1, std::min(threads, strips));
    std::vector<Work> work;
    std::vector<Counts> counts;
    for (int i = 0; i < threads; ++i) {
      work.emplace_back(sampler, queries);
      counts.emplace_back(queries);
    }
    std::vector<Runs> strip_runs(strips);
    parallel_for(strips, threads, [&](int worker, int strip) {
      if (fuse_block_row(job, strip, work[worker], counts[worker])) {
        take_runs(job, strip, work[worker], strip_runs[strip], counts[worker]);
      }
    });
    const Counts total = sum_counts(counts, queries);
    *runs = join_runs(strip_runs, codes, lengths);
    std::copy(total.won.begin(), total.won.end(), won);
    std::copy(total.boxes.begin(), total.boxes.end(), boxes);
    std::copy(total.claimed.begin(), total.claimed.end(), claimed);
    std::copy(total.finite.begin(), total.finite.end(), finite);
    return kOk;
  });
}
