// One bit of every mask logit: what is kept of the object queries of a frame.

#include <cstring>

#include "kernel_support.hpp"

namespace {

using namespace rmpsam;

// Eight bytes that are 0 or 1 as the bits of one byte, the first as its highest bit.
RMPSAM_INLINE uint8_t gather_bits(const uint8_t* bytes) {
  uint64_t word;  // the first byte is its lowest: all processors we know are little-endian
  std::memcpy(&word, bytes, sizeof word);
  // Bit 0 of byte i meets bit 63 - 9i of the factor in bit 63 - i; nothing else gets above bit 55.
  return static_cast<uint8_t>((word * UINT64_C(0x8040201008040201)) >> 56);
}

RMPSAM_CLONES void pack_row(const float* values, int64_t count, uint8_t* __restrict bits) {
  constexpr int kBlock = 64;
  uint8_t above[kBlock];
  for (; count >= kBlock; count -= kBlock, values += kBlock, bits += kBlock / 8) {
    for (int i = 0; i < kBlock; ++i) above[i] = static_cast<uint8_t>(values[i] > 0.0f);
    for (int i = 0; i < kBlock / 8; ++i) bits[i] = gather_bits(above + 8 * i);
  }
  std::fill_n(above, kBlock, uint8_t{0});
  for (int i = 0; i < count; ++i) above[i] = static_cast<uint8_t>(values[i] > 0.0f);
  for (int i = 0; 8 * i < count; ++i) bits[i] = gather_bits(above + 8 * i);
}

}  // namespace

// A bit for every value that is above 0 (NaN is not), the first of eight as the highest bit of its
// byte. values [rows][columns]; bits [rows][columns / 8, rounded up], filled up with zeros.
RMPSAM_API int rmpsam_sign_bits(const float* values, int64_t rows, int64_t columns,
                                uint8_t* bits) {
  return rmpsam::guarded([&]() -> int {
    if (rows < 0 || columns < 1) return kBadArgument;
    const int64_t bytes = (columns + 7) / 8;
    for (int64_t row = 0; row < rows; ++row) {
      pack_row(values + row * columns, columns, bits + row * bytes);
    }
    return kOk;
  });
}
