// One binary mask at image resolution from the logits of one or several queries.

#include "mask_sampler.hpp"

namespace {

using namespace rmpsam;

struct Partial {
  std::vector<float> smallest, largest;        // [stride], see bound_columns
  std::vector<float> windows;                  // see bound_span
  std::vector<float> lines;                    // see sample_block
  std::vector<float> low, high;                // [queries][blocks of a row, in whole spans]
  std::vector<float> claim_low, claim_high;    // [blocks]: bounds of the largest foreground logit
  std::vector<float> oppose_low, oppose_high;  // [blocks]: of the largest background logit
  alignas(64) float values[kBlockArea];
  alignas(64) float claim[kBlockArea];
  alignas(64) float oppose[kBlockArea];
  int64_t area = 0;
  double probability = 0.0;

  Partial(const Sampler& s, int queries)
      : smallest(s.stride()),
        largest(s.stride()),
        windows(s.stride()),
        lines(static_cast<size_t>(s.most_coarse_rows) * kBlock),
        low(static_cast<size_t>(queries) * s.spans() * kBlock),
        high(low.size()),
        claim_low(static_cast<size_t>(s.spans()) * kBlock),
        claim_high(claim_low.size()),
        oppose_low(claim_low.size()),
        oppose_high(claim_low.size()) {}
};

struct MaskJob {
  const Sampler& sampler;
  int foreground, background;  // queries [0, foreground), then the background ones
  uint8_t* mask;
};

constexpr float kNever = -INFINITY;

// Largest logit of some queries for every pixel of a block. Queries that stay below another one's
// lower bound on the whole block are not sampled.
RMPSAM_INLINE void largest_logit(const MaskJob& job, int first, int count, float floor,
                                 int block_row, int block, int height, Partial& part,
                                 float* __restrict out) {
  const int blocks = job.sampler.spans() * kBlock;
  std::fill_n(out, kBlockArea, kNever);
  for (int q = first; q < first + count; ++q) {
    if (part.high[static_cast<size_t>(q) * blocks + block] < floor) continue;
    sample_block(job.sampler, q, block_row, block, part.lines.data(), part.values);
    const float* __restrict values = part.values;
    for (int i = 0; i < height * kBlock; ++i) out[i] = larger(values[i], out[i]);
  }
}

RMPSAM_INLINE void mask_block(const MaskJob& job, int block_row, int block, int height,
                              Partial& part) {
  const Sampler& s = job.sampler;
  const int width = std::min(kBlock, s.columns.size - block * kBlock);
  uint8_t* out = job.mask + static_cast<size_t>(block_row) * kBlock * s.columns.size +
                 static_cast<size_t>(block) * kBlock;
  if (part.claim_high[block] <= 0.0f || part.claim_high[block] < part.oppose_low[block]) {
    for (int y = 0; y < height; ++y) {
      std::memset(out + static_cast<size_t>(y) * s.columns.size, 0, width);
    }
    return;
  }
  largest_logit(job, 0, job.foreground, part.claim_low[block], block_row, block, height, part,
                part.claim);
  if (part.oppose_high[block] >= part.claim_low[block]) {
    largest_logit(job, job.foreground, job.background, part.oppose_low[block], block_row, block,
                  height, part, part.oppose);
  } else {
    std::fill_n(part.oppose, kBlockArea, kNever);
  }
  IntLanes area = {};
  Lanes probability = {};
  IntLanes reached;
  for (int i = 0; i < kBlock; ++i) reached[i] = i < width ? -1 : 0;
  for (int y = 0; y < height; ++y) {
    const Lanes claim = load_lanes(part.claim + y * kBlock);
    const IntLanes inside = is_less(Lanes{}, claim) & reached &
                            is_at_least(claim, load_lanes(part.oppose + y * kBlock));
    area -= inside;
    probability += select(inside, sigmoid(claim), Lanes{});
    uint8_t* row = out + static_cast<size_t>(y) * s.columns.size;
    for (int i = 0; i < width; ++i) row[i] = static_cast<uint8_t>(-inside[i]);
  }
  part.area += sum_lanes(area);
  for (int i = 0; i < kBlock; ++i) part.probability += probability[i];
}

// Smallest and largest logit that each block of a row depends on. Returns false if some logit is
// not finite.
RMPSAM_INLINE bool bound_blocks(const Sampler& s, int query, int block_row, Partial& part,
                                float* low, float* high) {
  float *smallest = part.smallest.data(), *largest = part.largest.data();
  if (!bound_columns(s, query, query, block_row, smallest, largest)) return false;
  for (int span = 0; span < s.spans(); ++span) {
    store_lanes(low + span * kBlock, bound_span<false>(s, smallest, span, part.windows.data()));
    store_lanes(high + span * kBlock, bound_span<true>(s, largest, span, part.windows.data()));
  }
  return true;
}

// Returns false if some logit is not finite.
RMPSAM_CLONES bool mask_block_row(const MaskJob& job, int block_row, Partial& part) {
  const Sampler& s = job.sampler;
  const int blocks = s.spans() * kBlock;
  const int height = std::min(kBlock, s.rows.size - block_row * kBlock);
  std::fill(part.claim_low.begin(), part.claim_low.end(), kNever);
  std::fill(part.claim_high.begin(), part.claim_high.end(), kNever);
  std::fill(part.oppose_low.begin(), part.oppose_low.end(), kNever);
  std::fill(part.oppose_high.begin(), part.oppose_high.end(), kNever);
  for (int q = 0; q < job.foreground + job.background; ++q) {
    float* __restrict low = part.low.data() + static_cast<size_t>(q) * blocks;
    float* __restrict high = part.high.data() + static_cast<size_t>(q) * blocks;
    if (!bound_blocks(s, q, block_row, part, low, high)) return false;
    const bool claims = q < job.foreground;
    float* __restrict group_low = (claims ? part.claim_low : part.oppose_low).data();
    float* __restrict group_high = (claims ? part.claim_high : part.oppose_high).data();
    for (int b = 0; b < blocks; ++b) {
      // Rounding may push a sampled value just past its bounds: leave room for it.
      const float slack = 1e-5f * (larger(high[b], -high[b]) + larger(low[b], -low[b]));
      low[b] -= slack;
      high[b] += high[b] > 0.0f ? slack : 0.0f;
      group_low[b] = larger(group_low[b], low[b]);
      group_high[b] = larger(group_high[b], high[b]);
    }
  }
  for (int block = 0; block < s.columns.blocks; ++block) {
    mask_block(job, block_row, block, height, part);
  }
  return true;
}

}  // namespace

// Mask of the pixels that a foreground query claims (logit > 0) and that no background query
// claims more strongly (larger logit).
//
// logits [N][h][w] in single precision; selection [foreground + background]: places of the
// foreground queries, then of the background ones; geometry as make_sampler. mask [H][W]: 0 or 1.
// area: pixels of the mask. probability: sum over the mask of the sigmoid of the largest foreground
// logit. finite: 0 if a logit inside the image is NaN or infinite; then the other outputs mean
// nothing.
RMPSAM_API int rmpsam_binary_mask(const float* logits, const int32_t* selection,
                                  int32_t foreground, int32_t background, const int32_t* geometry,
                                  int32_t threads, uint8_t* mask, int64_t* area,
                                  double* probability, uint8_t* finite) {
  return rmpsam::guarded([&]() -> int {
    Sampler sampler;
    if (foreground < 1 || background < 0 ||
        !make_sampler(logits, selection, geometry, &sampler)) {
      return kBadArgument;
    }
    const MaskJob job{sampler, foreground, background, mask};
    const int strips = sampler.rows.blocks;
    threads = std::max(1, std::min(threads, strips));
    std::vector<Partial> parts;
    for (int i = 0; i < threads; ++i) parts.emplace_back(sampler, foreground + background);
    std::atomic<bool> all_finite{true};
    parallel_for(strips, threads, [&](int worker, int strip) {
      if (!mask_block_row(job, strip, parts[worker])) all_finite = false;
    });
    *area = 0;
    *probability = 0.0;
    for (const Partial& part : parts) {
      *area += part.area;
      *probability += part.probability;
    }
    *finite = all_finite;
    return kOk;
  });
}
