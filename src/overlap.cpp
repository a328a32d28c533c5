// How much the masks of queries have in common.

#include "kernel_support.hpp"

#include <cstring>

namespace {

using namespace rmpsam;

constexpr int kWord = 64;

// Eight flags, 0 or 1 in a byte each, as eight bits, in some order.
RMPSAM_INLINE uint64_t join_flags(const uint8_t* flags) {
  uint64_t bytes;
  std::memcpy(&bytes, flags, sizeof bytes);
  return bytes * UINT64_C(0x0102040810204080) >> 56;
}

// One bit for every cell of a grid of logits [height][stride]: whether it is above 0, in an order
// that is the same for all grids. Returns false if one of the logits is not finite.
RMPSAM_CLONES bool pack_signs(const float* grid, int height, int width, int stride, uint64_t* words) {
  uint32_t not_finite = 0;
  for (int y = 0; y < height; ++y) {
    const float* row = grid + static_cast<size_t>(y) * stride;
    for (int x = 0; x < width; x += kWord) {
      float cells[kWord] = {};
      uint8_t flags[kWord];
      std::memcpy(cells, row + x, std::min(kWord, width - x) * sizeof *cells);
      for (int i = 0; i < kWord; ++i) flags[i] = cells[i] > 0;
      for (int i = 0; i < kWord; ++i) {
        uint32_t bits;
        std::memcpy(&bits, cells + i, sizeof bits);
        not_finite |= (bits & 0x7F800000u) == 0x7F800000u;
      }
      uint64_t word = 0;
      for (int i = 0; i < kWord; i += 8) word = word << 8 | join_flags(flags + i);
      *words++ = word;
    }
  }
  return not_finite == 0;
}

RMPSAM_CLONES int64_t count_shared(const uint64_t* a, const uint64_t* b, int64_t words) {
  int64_t count = 0;
  for (int64_t i = 0; i < words; ++i) count += __builtin_popcountll(a[i] & b[i]);
  return count;
}

}  // namespace

// Cells with a logit above 0 that every two of the selected queries have in common.
//
// logits [N][coarse_height][coarse_width], of which the cells of the first height rows and width
// columns count, for the queries selection [queries]. shared [queries][queries]: the diagonal is
// the area of each. finite [queries]: 0 if one of a query's logits is NaN or infinite.
RMPSAM_API int rmpsam_shared_cells(const float* logits, const int32_t* selection, int32_t queries,
                                   int32_t coarse_height, int32_t coarse_width, int32_t height,
                                   int32_t width, int64_t* shared, uint8_t* finite) {
  return rmpsam::guarded([&]() -> int {
    if (height < 1 || width < 1 || height > coarse_height || width > coarse_width || queries < 0) {
      return kBadArgument;
    }
    const int64_t words = static_cast<int64_t>(height) * ((width + 63) / 64);
    std::vector<uint64_t> bits(words * queries);
    for (int q = 0; q < queries; ++q) {
      const float* grid =
          logits + static_cast<size_t>(selection[q]) * coarse_height * coarse_width;
      finite[q] = pack_signs(grid, height, width, coarse_width, bits.data() + q * words);
      for (int other = 0; other <= q; ++other) {
        shared[q * queries + other] = shared[other * queries + q] =
            count_shared(bits.data() + q * words, bits.data() + other * words, words);
      }
    }
    return kOk;
  });
}
