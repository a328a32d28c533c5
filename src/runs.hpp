// Runs of equal values in a row of 16-bit labels.
#pragma once

#include <cstdint>
#include <cstring>

namespace rmpsam {

// First position after `begin` whose value differs from row[begin], or `end`.
inline int run_end(const uint16_t* row, int begin, int end) {
  const uint16_t value = row[begin];
  int x = begin + 1;
  // Short runs are common at borders, so a few plain steps come before the wide ones.
  for (const int plain = x + 4 < end ? x + 4 : end; x < plain; ++x) {
    if (row[x] != value) return x;
  }
  const uint64_t same = value * UINT64_C(0x0001000100010001);
  for (; x + 16 <= end; x += 16) {
    uint64_t words[4];
    std::memcpy(words, row + x, sizeof words);
    if (((words[0] ^ same) | (words[1] ^ same) | (words[2] ^ same) | (words[3] ^ same)) != 0) break;
  }
  while (x < end && row[x] == value) ++x;
  return x;
}

}  // namespace rmpsam
