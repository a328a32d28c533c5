// Panoptic fusion: which query wins each pixel, and how many pixels it won and claimed.

#include "block_fusion.hpp"
#include "runs.hpp"

namespace {

using namespace rmpsam;

// One row of blocks. Returns false, with nothing useful written, if some logit is not finite.
RMPSAM_CLONES bool fuse_block_row(const Job& job, int block_row, Work& work, Counts& counts) {
  const Sampler& s = job.sampler;
  if (!list_contenders(job, block_row, work.contest, counts.finite.data(), counts.claimed.data())) {
    return false;
  }
  for (int block = 0; block < s.columns.blocks; ++block) {
    const Contender* list = work.contest.lists.data() + static_cast<size_t>(block) * job.queries;
    fuse_block({job, work, counts, list, work.contest.lengths[block], block_row, block,
                s.block_height(block_row), s.block_width(block)});
  }
  return true;
}

// Takes the finished rows of a row of blocks as runs, adds them to the areas and boxes, and returns
// how many there are.
int64_t take_runs(const Job& job, int block_row, const Work& work, uint16_t* codes,
                  uint32_t* lengths, Counts& counts) {
  const int width = job.sampler.columns.size, first = block_row * kBlock;
  int64_t* __restrict won = counts.won.data();
  int32_t* __restrict boxes = counts.boxes.data();
  int64_t runs = 0;
  for (int y = first; y < first + job.sampler.block_height(block_row); ++y) {
    const uint16_t* __restrict row = work.codes.data() + static_cast<size_t>(y - first) * width;
    for (int x = 0; x < width;) {
      const int end = rmpsam::run_end(row, x, width);
      const uint16_t code = row[x];
      if (x == 0 && runs > 0 && codes[runs - 1] == code) {
        lengths[runs - 1] += end;
      } else {
        codes[runs] = code;
        lengths[runs++] = end - x;
      }
      won[code] += end - x;
      int32_t* box = boxes + 4 * code;
      box[0] = std::min(box[0], x);
      box[1] = std::min(box[1], y);
      box[2] = std::max(box[2], end);
      box[3] = std::max(box[3], y + 1);
      x = end;
    }
  }
  return runs;
}

// Adds the counts of all threads; claimed [queries]: those in all lanes together.
Counts sum_counts(const std::vector<Counts>& parts, int queries, int64_t* claimed) {
  Counts total(queries);
  std::fill_n(claimed, queries, 0);
  for (const Counts& part : parts) {
    for (int q = 0; q < queries; ++q) {
      claimed[q] += sum_lanes(load_lanes(&part.claimed[static_cast<size_t>(q) * kBlock]));
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

// Moves the runs of all strips together, and returns how many there are. Those of a strip begin at
// its first pixel, so that threads need not know how many came before.
int64_t join_runs(const std::vector<int64_t>& strip_runs, size_t stride, uint16_t* codes,
                  uint32_t* lengths) {
  int64_t count = 0;
  for (size_t strip = 0; strip < strip_runs.size(); ++strip) {
    const uint16_t* from = codes + strip * stride;
    const uint32_t* from_lengths = lengths + strip * stride;
    int64_t runs = strip_runs[strip];
    if (count > 0 && runs > 0 && from[0] == codes[count - 1]) {
      lengths[count - 1] += from_lengths[0];
      ++from, ++from_lengths, --runs;
    }
    std::memmove(codes + count, from, runs * sizeof *codes);
    std::memmove(lengths + count, from_lengths, runs * sizeof *lengths);
    count += runs;
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
    std::vector<float> padded_scores(scores, scores + queries);
    padded_scores.resize((queries + kBlock - 1) / kBlock * kBlock);
    const Job job{sampler, padded_scores.data(), queries};
    const int strips = sampler.rows.blocks;
    threads = std::max(1, std::min(threads, strips));
    std::vector<Work> work;
    std::vector<Counts> counts;
    for (int i = 0; i < threads; ++i) {
      work.emplace_back(job);
      counts.emplace_back(queries);
    }
    std::vector<int64_t> strip_runs(strips);
    const size_t stride = static_cast<size_t>(kBlock) * sampler.columns.size;
    parallel_for(strips, threads, [&](int worker, int strip) {
      if (!fuse_block_row(job, strip, work[worker], counts[worker])) return;
      strip_runs[strip] = take_runs(job, strip, work[worker], codes + strip * stride,
                                    lengths + strip * stride, counts[worker]);
    });
    const Counts total = sum_counts(counts, queries, claimed);
    *runs = join_runs(strip_runs, stride, codes, lengths);
    std::copy(total.won.begin(), total.won.end(), won);
    std::copy(total.boxes.begin(), total.boxes.end(), boxes);
    std::copy(total.finite.begin(), total.finite.end(), finite);
    return kOk;
  });
}
