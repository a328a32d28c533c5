// Runs of equal values in a row of 16-bit labels.
#pragma once

#include <cstdint>
#include <cstring>

namespace rmpsam {

constexpr int kRunStep = 16;  // labels that are compared at once

// Bits of four labels, the first one lowest; 0 where a label is the one of which `same` has four.
inline uint64_t differences(const uint16_t* row, uint64_t same) {
  uint64_t word;
  std::memcpy(&word, row, sizeof word);  // little-endian
  return word ^ same;
}

// The first of kRunStep labels that differs, or kRunStep. Without a branch for its place: runs end
// where they like, and a branch that is guessed wrong takes longer than all comparisons.
inline int first_different(const uint16_t* row, uint64_t same) {
  const uint64_t a = differences(row, same), b = differences(row + 4, same);
  const uint64_t c = differences(row + 8, same), d = differences(row + 12, same);
  if ((a | b | c | d) == 0) return kRunStep;
  const bool late = (a | b) == 0;
  const uint64_t first = late ? c : a, second = late ? d : b;
  const int place = (late ? 8 : 0) + (first == 0 ? 4 : 0);
  return place + __builtin_ctzll(first == 0 ? second : first) / 16;
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
