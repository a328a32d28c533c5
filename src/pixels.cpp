// Per-pixel work on camera images: network input, and colours over a label map.

#include <cstdlib>

#include "kernel_support.hpp"
#include "runs.hpp"

namespace {

using namespace rmpsam;

constexpr int kPeriod = 48;  // bytes after which three interleaved channels line up with vectors

// out = (image * keep + tint) / 256 over a run of pixels of one colour.
RMPSAM_INLINE void blend_run(const uint8_t* __restrict image, uint8_t* __restrict out, int pixels,
                             const uint8_t* colour, int opacity) {
  const uint16_t keep = static_cast<uint16_t>(256 - opacity);
  uint16_t tint[kPeriod];
  for (int i = 0; i < kPeriod; ++i) {
    tint[i] = static_cast<uint16_t>(colour[i % 3] * opacity + 128);
  }
  const int bytes = 3 * pixels;
  int i = 0;
  for (; i + kPeriod <= bytes; i += kPeriod) {
    for (int k = 0; k < kPeriod; ++k) {
      out[i + k] = static_cast<uint8_t>((image[i + k] * keep + tint[k]) >> 8);
    }
  }
  for (int k = 0; i < bytes; ++i, ++k) {
    out[i] = static_cast<uint8_t>((image[i] * keep + tint[k]) >> 8);
  }
}

// edge[x] = 1 where the label differs from one `reach` pixels to the left, right, above or below.
RMPSAM_INLINE void find_edges(const uint16_t* row, const uint16_t* above, const uint16_t* below,
                              int width, int reach, uint8_t* __restrict edge) {
  for (int x = 0; x < width; ++x) {
    edge[x] = static_cast<uint8_t>((row[x] != above[x]) | (row[x] != below[x]));
  }
  for (int x = reach; x < width; ++x) {
    edge[x] |= static_cast<uint8_t>(row[x] != row[x - reach]);
  }
  for (int x = 0; x + reach < width; ++x) {
    edge[x] |= static_cast<uint8_t>(row[x] != row[x + reach]);
  }
}

struct Tinting {
  const uint8_t* image;
  const uint16_t* map;
  int height, width;
  const uint8_t* colours;  // [labels][3]
  int opacity, reach;
  uint8_t* out;
};

RMPSAM_CLONES void tint_row(const Tinting& t, int y, uint8_t* edge) {
  const size_t offset = static_cast<size_t>(y) * t.width;
  const uint16_t* row = t.map + offset;
  const uint8_t* image = t.image + 3 * offset;
  uint8_t* out = t.out + 3 * offset;
  for (int x = 0; x < t.width;) {
    const int end = rmpsam::run_end(row, x, t.width);
    if (row[x] == 0) {
      std::memcpy(out + 3 * x, image + 3 * x, static_cast<size_t>(3) * (end - x));
    } else {
      blend_run(image + 3 * x, out + 3 * x, end - x, t.colours + 3 * row[x], t.opacity);
    }
    x = end;
  }
  const int up = std::max(0, y - t.reach), down = std::min(t.height - 1, y + t.reach);
  find_edges(row, t.map + static_cast<size_t>(up) * t.width,
             t.map + static_cast<size_t>(down) * t.width, t.width, t.reach, edge);
  for (int x = 0; x < t.width; ++x) {
    uint64_t word = 1;
    if (x + 8 <= t.width) std::memcpy(&word, edge + x, sizeof word);
    if (word == 0) {
      x += 7;
    } else if (edge[x] && row[x]) {
      std::memcpy(out + 3 * x, t.colours + 3 * row[x], 3);
    }
  }
}

}  // namespace

// (image - mean) / std as planes, one for each channel, in a padded buffer.
//
// image: first byte of its first pixel, and the bytes from there to the next row, pixel and
// channel, which may be negative. planes [3][padded height][padded width]; what the image does not
// cover is set to 0. mean, std: of every channel. One thread: starting another takes as long as
// the work.
RMPSAM_API int rmpsam_normalize(const uint8_t* image, int32_t height, int32_t width,
                                int64_t row_step, int64_t pixel_step, int64_t channel_step,
                                const float* mean, const float* std, int32_t padded_height,
                                int32_t padded_width, float* planes) {
  return rmpsam::guarded([&]() -> int {
    if (height < 1 || width < 1 || padded_height < height || padded_width < width) {
      return kBadArgument;
    }
    float table[3][256];
    for (int c = 0; c < 3; ++c) {
      for (int v = 0; v < 256; ++v) table[c][v] = (static_cast<float>(v) - mean[c]) / std[c];
    }
    const size_t plane = static_cast<size_t>(padded_height) * padded_width;
    // A view of every third row is not what processors expect: without hints they wait for memory.
    constexpr int64_t kLine = 64;  // bytes of a cache line
    const int64_t step = std::clamp<int64_t>(std::abs(pixel_step), 1, kLine);
    const auto pixels_of_line = static_cast<int>(kLine / step);
    for (int y = 0; y < padded_height; ++y) {
      float* first = planes + static_cast<size_t>(y) * padded_width;
      float *second = first + plane, *third = second + plane;
      const int covered = y < height ? width : 0;
      const uint8_t* in = image + std::min(y, height - 1) * row_step;
      for (int x = 0; x < covered;) {
        __builtin_prefetch(in + row_step);  // behind the last row, too: it reads nothing
        const int end = std::min(covered, x + pixels_of_line);
        for (; x < end; ++x, in += pixel_step) {
          first[x] = table[0][in[0]];
          second[x] = table[1][in[channel_step]];
          third[x] = table[2][in[2 * channel_step]];
        }
      }
      for (float* row : {first, second, third}) {
        std::fill(row + covered, row + padded_width, 0.0f);
      }
    }
    return kOk;
  });
}

// Lays the colours of a label map over an image, with solid contours; label 0 leaves it as it is.
//
// image, out [height][width][3]; map [height][width]; colours [labels][3]; opacity 0 to 256;
// reach: width of the contour on each side of a border, pixels.
RMPSAM_API int rmpsam_tint(const uint8_t* image, const uint16_t* map, int32_t height, int32_t width,
                           const uint8_t* colours, int32_t labels, int32_t opacity, int32_t reach,
                           int32_t threads, uint8_t* out) {
  return rmpsam::guarded([&]() -> int {
    if (height < 1 || width < 1 || opacity < 0 || opacity > 256 || reach < 1) return kBadArgument;
    std::atomic<int> status{kOk};
    const Tinting tinting{image, map, height, width, colours, opacity, reach, out};
    constexpr int kRows = 32;
    parallel_for((height + kRows - 1) / kRows, threads, [&](int, int strip) {
      std::vector<uint8_t> edge(static_cast<size_t>(width));
      const int last = std::min(height, (strip + 1) * kRows);
      for (int y = strip * kRows; y < last; ++y) {
        const uint16_t* row = map + static_cast<size_t>(y) * width;
        uint16_t largest = 0;
        for (int x = 0; x < width; ++x) largest = std::max(largest, row[x]);
        if (largest >= labels) {
          status = kBadArgument;
          return;
        }
        tint_row(tinting, y, edge.data());
      }
    });
    return status;
  });
}
