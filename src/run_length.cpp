// Run lengths of label maps, of their segments, and of binary masks.

#include "kernel_support.hpp"
#include "runs.hpp"

namespace {

using namespace rmpsam;

struct Box {
  int32_t x_min, y_min, x_max, y_max;
};

// Writes the alternating counts of one mask, cropped to its box, from its runs in row-major order.
class CountWriter {
 public:
  explicit CountWriter(const Box& box) : box_(box) {}

  // Pixels [begin, end) of row y belong to the mask. Returns false if they leave the box.
  bool add(int32_t y, int32_t begin, int32_t end) {
    if (begin < box_.x_min || end > box_.x_max || y < box_.y_min || y >= box_.y_max) return false;
    const int64_t width = box_.x_max - box_.x_min;
    const int64_t start = (y - box_.y_min) * width + (begin - box_.x_min);
    if (start == position_ && !counts_.empty()) {
      counts_.back() += static_cast<uint32_t>(end - begin);
    } else {
      counts_.push_back(static_cast<uint32_t>(start - position_));
      counts_.push_back(static_cast<uint32_t>(end - begin));
    }
    position_ = start + (end - begin);
    return true;
  }

  const std::vector<uint32_t>& finish() {
    const int64_t total = int64_t{box_.x_max - box_.x_min} * (box_.y_max - box_.y_min);
    if (!counts_.empty() && position_ < total) {
      counts_.push_back(static_cast<uint32_t>(total - position_));
    }
    return counts_;
  }

 private:
  Box box_;
  int64_t position_ = 0;  // first pixel of the box that no count covers yet
  std::vector<uint32_t> counts_;
};

// First position in [begin, end) where (row[x] != 0) == wanted, or end.
int find_pixel(const uint8_t* row, int begin, int end, bool wanted) {
  int x = begin;
  for (; x + 8 <= end; x += 8) {
    uint64_t word;
    std::memcpy(&word, row + x, sizeof word);
    if (word != (wanted ? 0 : UINT64_C(0x0101010101010101))) break;
  }
  while (x < end && (row[x] != 0) != wanted) ++x;
  return x;
}

// Writes runs one after the other. A run is written in whole chunks, over what comes behind it and
// is written later: most runs are short, and how many pixels are left in the last chunk is a branch
// that no processor foresees.
template <class Value>
RMPSAM_INLINE int paint_chunks(const Value* values, const uint32_t* lengths, int64_t runs,
                               int64_t pixels, Value* to) {
  constexpr int64_t kChunk = 64 / sizeof(Value);
  for (int64_t i = 0; i < runs; ++i) {
    const int64_t length = lengths[i];
    if (length > pixels) return kBadArgument;
    pixels -= length;
    if (pixels < kChunk) {
      std::fill_n(to, length, values[i]);
    } else {
      for (int64_t k = 0; k < length; k += kChunk) std::fill_n(to + k, kChunk, values[i]);
    }
    to += length;
  }
  return pixels == 0 ? kOk : kBadArgument;
}

RMPSAM_CLONES int paint(const uint8_t* values, const uint32_t* lengths, int64_t runs,
                        int64_t pixels, uint8_t* out) {
  return paint_chunks(values, lengths, runs, pixels, out);
}

RMPSAM_CLONES int paint(const uint16_t* values, const uint32_t* lengths, int64_t runs,
                        int64_t pixels, uint16_t* out) {
  return paint_chunks(values, lengths, runs, pixels, out);
}

}  // namespace

// Run lengths of a whole map in row-major order; a run may continue in the next row.
// ids and lengths have room for height * width entries; *runs receives how many were written.
RMPSAM_API int rmpsam_encode_map(const uint16_t* map, int32_t height, int32_t width, uint16_t* ids,
                                 uint32_t* lengths, int64_t* runs) {
  return rmpsam::guarded([&]() -> int {
    if (height < 1 || width < 1) return kBadArgument;
    int64_t count = 0;
    for (int y = 0; y < height; ++y) {
      const uint16_t* row = map + static_cast<size_t>(y) * width;
      for (int x = 0; x < width;) {
        const int end = rmpsam::run_end(row, x, width);
        if (count > 0 && ids[count - 1] == row[x]) {
          lengths[count - 1] += static_cast<uint32_t>(end - x);
        } else {
          ids[count] = row[x];
          lengths[count++] = static_cast<uint32_t>(end - x);
        }
        x = end;
      }
    }
    *runs = count;
    return kOk;
  });
}

// Replaces every value of a list of runs by its entry in a table and joins runs that become equal.
// out_values and out_lengths have room for as many runs; *joined receives how many there are.
RMPSAM_API int rmpsam_relabel_runs(const uint16_t* values, const uint32_t* lengths, int64_t runs,
                                   const uint16_t* table, int32_t entries, uint16_t* out_values,
                                   uint32_t* out_lengths, int64_t* joined) {
  return rmpsam::guarded([&]() -> int {
    int64_t count = 0;
    for (int64_t i = 0; i < runs; ++i) {
      if (values[i] >= entries) return kBadArgument;
      const uint16_t value = table[values[i]];
      if (count > 0 && out_values[count - 1] == value) {
        out_lengths[count - 1] += lengths[i];
      } else {
        out_values[count] = value;
        out_lengths[count++] = lengths[i];
      }
    }
    *joined = count;
    return kOk;
  });
}

// Writes runs of values of one or two bytes each, which add up to `pixels`, pixel by pixel.
RMPSAM_API int rmpsam_paint_runs(const void* values, const uint32_t* lengths, int64_t runs,
                                 int32_t bytes, int64_t pixels, void* out) {
  return rmpsam::guarded([&]() -> int {
    if (bytes == 1) {
      return paint(static_cast<const uint8_t*>(values), lengths, runs, pixels,
                   static_cast<uint8_t*>(out));
    }
    if (bytes != 2) return kBadArgument;
    return paint(static_cast<const uint16_t*>(values), lengths, runs, pixels,
                 static_cast<uint16_t*>(out));
  });
}

// Counts of every segment of a map, each cropped to its box, from the runs of the map.
//
// values, lengths [runs]: the map in row-major order. table [entries]: segment index by map value,
// -1 for values that are no segment. boxes [segments][4]: x_min, y_min, x_max, y_max. counts has
// room for 2 * (runs + height) + segments entries; ends [segments] receives where the counts of
// each segment end.
RMPSAM_API int rmpsam_encode_segments(const uint16_t* values, const uint32_t* lengths,
                                      int64_t runs, int32_t height, int32_t width,
                                      const int32_t* table, int32_t entries, const int32_t* boxes,
                                      int32_t segments, uint32_t* counts, int64_t* ends) {
  return rmpsam::guarded([&]() -> int {
    if (height < 1 || width < 1 || segments < 0) return kBadArgument;
    std::vector<CountWriter> writers;
    writers.reserve(static_cast<size_t>(segments));
    for (int i = 0; i < segments; ++i) {
      writers.emplace_back(Box{boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3]});
    }
    const int64_t pixels = int64_t{height} * width;
    int64_t begin = 0;
    for (int64_t i = 0; i < runs; begin += lengths[i++]) {
      if (begin + lengths[i] > pixels) return kBadArgument;
      const int segment = values[i] < entries ? table[values[i]] : -1;
      if (segment < 0) continue;
      auto y = static_cast<int32_t>(begin / width), x = static_cast<int32_t>(begin % width);
      for (int64_t left = lengths[i]; left > 0; x = 0, ++y) {
        const auto end = static_cast<int32_t>(std::min<int64_t>(width, x + left));
        if (!writers[segment].add(y, x, end)) return kBadArgument;
        left -= end - x;
      }
    }
    if (begin != pixels) return kBadArgument;
    int64_t total = 0;
    for (int i = 0; i < segments; ++i) {
      const std::vector<uint32_t>& own = writers[i].finish();
      std::copy(own.begin(), own.end(), counts + total);
      total += static_cast<int64_t>(own.size());
      ends[i] = total;
    }
    return kOk;
  });
}

// Tight box and counts of a binary mask (bytes 0 or 1). box [4]: x_min, y_min, x_max, y_max, all 0
// if the mask is empty. counts has room for 2 * height * width + 1 entries; *written receives how
// many were used.
RMPSAM_API int rmpsam_encode_mask(const uint8_t* mask, int32_t height, int32_t width, int32_t* box,
                                  uint32_t* counts, int64_t* written) {
  return rmpsam::guarded([&]() -> int {
    if (height < 1 || width < 1) return kBadArgument;
    struct Run {
      int32_t y, begin, end;
    };
    std::vector<Run> runs;
    Box tight{width, height, 0, 0};
    for (int y = 0; y < height; ++y) {
      const uint8_t* row = mask + static_cast<size_t>(y) * width;
      for (int x = find_pixel(row, 0, width, true); x < width;) {
        const int end = find_pixel(row, x, width, false);
        runs.push_back({y, x, end});
        tight = {std::min(tight.x_min, x), std::min(tight.y_min, y), std::max(tight.x_max, end),
                 y + 1};
        x = find_pixel(row, end, width, true);
      }
    }
    if (runs.empty()) tight = {0, 0, 0, 0};
    CountWriter writer(tight);
    for (const Run& run : runs) writer.add(run.y, run.begin, run.end);
    const std::vector<uint32_t>& own = writer.finish();
    std::copy(own.begin(), own.end(), counts);
    *written = static_cast<int64_t>(own.size());
    box[0] = tight.x_min;
    box[1] = tight.y_min;
    box[2] = tight.x_max;
    box[3] = tight.y_max;
    return kOk;
  });
}
