// Sixteen numbers at once: the pixels of one row of a block, or one number of sixteen blocks.
#pragma once

#include "kernel_support.hpp"

#include <cstring>

// What compares or selects is a loop over the lanes: of comparisons of whole vectors, compilers
// make scalar code where the vectors of the processor are shorter. They do so of loops, too, if
// they unroll them before they vectorise them.
#if defined(__clang__)
#define RMPSAM_LOOP _Pragma("clang loop unroll(disable)")
#else
#define RMPSAM_LOOP _Pragma("GCC unroll 1")
#endif
#define RMPSAM_EACH_LANE(i) RMPSAM_LOOP for (int i = 0; i < kBlock; ++i)

namespace rmpsam {

constexpr int kBlock = 16;  // side of a block, pixels; a multiple of every vector width
constexpr int kGroup = 4;   // rows of a block that are decided together
constexpr int kGroups = kBlock / kGroup;
constexpr int kGroupArea = kGroup * kBlock;
constexpr int kBlockArea = kBlock * kBlock;

typedef float Lanes __attribute__((vector_size(kBlock * sizeof(float))));
typedef int32_t IntLanes __attribute__((vector_size(kBlock * sizeof(int32_t))));  // -1: true

RMPSAM_INLINE Lanes load_lanes(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

RMPSAM_INLINE void store_lanes(float* to, Lanes lanes) { std::memcpy(to, &lanes, sizeof lanes); }

// The first `count` numbers, 1 to kBlock, and the first of them again for the others.
RMPSAM_INLINE Lanes load_some_lanes(const float* from, int count) {
  if (count >= kBlock) return load_lanes(from);
  Lanes lanes;
  for (int i = 0; i < kBlock; ++i) lanes[i] = from[i < count ? i : 0];
  return lanes;
}

RMPSAM_INLINE IntLanes load_lanes(const int32_t* from) {
  IntLanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

RMPSAM_INLINE void store_lanes(int32_t* to, IntLanes lanes) {
  std::memcpy(to, &lanes, sizeof lanes);
}

RMPSAM_INLINE Lanes all_lanes(float value) { return value - Lanes{}; }

RMPSAM_INLINE float smaller(float a, float b) { return a < b ? a : b; }
RMPSAM_INLINE float larger(float a, float b) { return a > b ? a : b; }

RMPSAM_INLINE IntLanes bits_of(Lanes lanes) {
  IntLanes bits;
  std::memcpy(&bits, &lanes, sizeof bits);
  return bits;
}

RMPSAM_INLINE Lanes lanes_of(IntLanes bits) {
  Lanes lanes;
  std::memcpy(&lanes, &bits, sizeof lanes);
  return lanes;
}

RMPSAM_INLINE IntLanes is_finite(Lanes a) {
  return ((bits_of(a) & INT32_MAX) - 0x7F800000) >> 31;
}

RMPSAM_INLINE Lanes smaller(Lanes a, Lanes b) {
  Lanes out;
  RMPSAM_EACH_LANE(i) out[i] = smaller(a[i], b[i]);
  return out;
}

RMPSAM_INLINE Lanes larger(Lanes a, Lanes b) {
  Lanes out;
  RMPSAM_EACH_LANE(i) out[i] = larger(a[i], b[i]);
  return out;
}

RMPSAM_INLINE IntLanes is_less(Lanes a, Lanes b) {
  IntLanes out;
  RMPSAM_EACH_LANE(i) out[i] = a[i] < b[i] ? -1 : 0;
  return out;
}

RMPSAM_INLINE IntLanes is_at_least(Lanes a, Lanes b) {
  IntLanes out;
  RMPSAM_EACH_LANE(i) out[i] = a[i] >= b[i] ? -1 : 0;
  return out;
}

RMPSAM_INLINE IntLanes is_negative(Lanes a) { return is_less(a, all_lanes(0.0f)); }

RMPSAM_INLINE Lanes select(IntLanes condition, Lanes yes, Lanes no) {
  Lanes out;
  RMPSAM_EACH_LANE(i) out[i] = condition[i] ? yes[i] : no[i];
  return out;
}

RMPSAM_INLINE IntLanes select(IntLanes condition, IntLanes yes, IntLanes no) {
  IntLanes out;
  RMPSAM_EACH_LANE(i) out[i] = condition[i] ? yes[i] : no[i];
  return out;
}

// The bits that are set in any lane.
RMPSAM_INLINE uint32_t join_bits(IntLanes lanes) {
  uint64_t pairs[kBlock / 2], bits = 0;
  std::memcpy(pairs, &lanes, sizeof pairs);
  RMPSAM_LOOP for (int i = 0; i < kBlock / 2; ++i) bits |= pairs[i];
  return static_cast<uint32_t>(bits | bits >> 32);
}

RMPSAM_INLINE float largest_lane(Lanes lanes) {
  constexpr int kHalf = kBlock / 2, kQuarter = kBlock / 4;
  float most[kHalf];
  RMPSAM_LOOP for (int i = 0; i < kHalf; ++i) most[i] = larger(lanes[i], lanes[i + kHalf]);
  for (int i = 0; i < kQuarter; ++i) most[i] = larger(most[i], most[i + kQuarter]);
  return larger(larger(most[0], most[1]), larger(most[2], most[3]));
}

RMPSAM_INLINE float smallest_lane(Lanes lanes) { return -largest_lane(-lanes); }

RMPSAM_INLINE int64_t sum_lanes(IntLanes lanes) {
  int64_t total = 0;
  for (int i = 0; i < kBlock; ++i) total += lanes[i];
  return total;
}

// exp(x) from -87 to 88, at most 0.2 per cent too small and 6.4 too large: x / log(2) as a
// fixed-point number has the bits of a power of two, with straight lines between whole powers.
// Beyond, what it is at the end.
RMPSAM_INLINE float rough_exp(float x) {
  constexpr float kShift = 49152.0f;  // 1.5 * 2^15: adding it leaves 8 binary places
  const float shifted = smaller(larger(x, -87.0f), 88.0f) * 1.44269504f + kShift;
  int32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits - 0x47400000 + (127 << 8)) << 15;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return power;
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

RMPSAM_INLINE Lanes sigmoid(Lanes x) {
  Lanes out;
  RMPSAM_EACH_LANE(i) out[i] = sigmoid(x[i]);
  return out;
}

// Bounds of 1 / sigmoid(x) for x above -87, for a third of the work; below, sigmoid(x) is less than
// kTiny, and only the second one holds.
constexpr float kTiny = 1e-36f;

RMPSAM_INLINE Lanes inverse_sigmoid_at_most(Lanes x) {
  Lanes out;
  RMPSAM_EACH_LANE(i) out[i] = 1.0f + rough_exp(-x[i]) * 1.003f;
  return out;
}

RMPSAM_INLINE Lanes inverse_sigmoid_at_least(Lanes x) {
  Lanes out;
  RMPSAM_EACH_LANE(i) out[i] = 1.0f + rough_exp(-x[i]) * 0.935f;
  return out;
}

}  // namespace rmpsam
