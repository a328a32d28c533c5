// Runs of equal values in a row of 16-bit labels.
#pragma once

#include <cstdint>
#include <cstring>

namespace rmpsam {

constexpr int kRunStep = 16;  // labels that are compared at once

// The first of kRunStep labels that differs, or kRunStep. Without a branch for its place: ends of
// runs come as they like, and a branch that is guessed wrong takes longer than all comparisons.
inline int first_different(const uint16_t* row, uint64_t same) {
  uint64_t words[4];
  std::memcpy(words, row, sizeof words);
  for (uint64_t& word : words) word ^= same;
  if ((words[0] | words[1] | words[2] | words[3]) == 0) return kRunStep;
  const bool late = (words[0] | words[1]) == 0;
  const uint64_t first = late ? words[2] : words[0], second = late ? words[3] : words[1];
  const int place = (late ? 8 : 0) + (first == 0 ? 4 : 0);
  return place + __builtin_ctzll(first == 0 ? second : first) / 16;  // little-endian
}

// First position after `begin` whose value differs from row[begin], or `end`.
inline int run_end(const uint16_t* row, int begin, int end) {
  const uint16_t value = row[begin];
  const uint64_t same = value * UINT64_C(0x0001000100010001);
  int x = begin;
  for (; x + kRunStep <= end; x += kRunStep) {
    const int equal = first_different(row + x, same);
    if (equal < kRunStep) return x + equal;
  }
  if (end - begin >= kRunStep) return end - kRunStep + first_different(row + end - kRunStep, same);
  while (x < end && row[x] == value) ++x;
  return x;
}

}  // namespace rmpsam
