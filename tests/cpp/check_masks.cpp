// Reads masks from a dump and writes what the header makes of them; test_run_length_mask.py does
// the same in Python. Numbers are those of this machine.
//
// In, for every mask, uint32: height, width, x_offset, y_offset, box width, box height, number of
// counts, the counts. Out, for every mask: uint8 1 where it is malformed, else uint8 0, uint64
// area, uint64 runs, and height * width bytes.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "rmpsam_ros/run_length_mask.hpp"

using rmpsam_ros::MaskBox;
using rmpsam_ros::MaskError;
using rmpsam_ros::MaskRun;
using rmpsam_ros::MaskView;

struct Box
{
  std::uint32_t x_offset, y_offset, height, width;
  bool do_rectify;
};

struct Message
{
  std::uint32_t height, width;
  Box box;
  std::vector<std::uint32_t> counts;
};

static_assert(!std::is_constructible_v<MaskView, Message>, "a message that ends is refused");
static_assert(std::is_constructible_v<MaskView, const Message &>);

void require(bool condition, const char * what)
{
  if (!condition) {
    std::fprintf(stderr, "not true: %s\n", what);
    std::exit(1);
  }
}

template<typename Number>
bool read(Number & number)
{
  return std::fread(&number, sizeof(number), 1, stdin) == 1;
}

template<typename Number>
void write(Number number)
{
  std::fwrite(&number, sizeof(number), 1, stdout);
}

bool read(Message & message)
{
  std::uint32_t number = 0;
  if (!read(message.height)) {
    return false;
  }
  read(message.width);
  read(message.box.x_offset);
  read(message.box.y_offset);
  read(message.box.width);
  read(message.box.height);
  read(number);
  message.counts.resize(number);
  message.counts.shrink_to_fit();  // the sanitizer sees a read behind the last
  for (auto & count : message.counts) {
    read(count);
  }
  return true;
}

// Into a buffer that ends with the last pixel, with gaps between the rows that stay as they are.
void check_padded(const MaskView & mask, const std::vector<std::uint8_t> & whole, std::size_t gap)
{
  if (mask.height() == 0 || mask.width() == 0) {
    return;
  }
  const std::size_t step = mask.width() + gap;
  const std::size_t size = (mask.height() - 1) * step + mask.width();
  const std::unique_ptr<std::uint8_t[]> buffer(new std::uint8_t[size]);
  std::memset(buffer.get(), 7, size);
  mask.decode(buffer.get(), size, step);
  for (std::size_t i = 0; i < size; ++i) {
    const bool is_gap = i % step >= mask.width();
    const std::uint8_t expected = is_gap ? 7 : whole[i / step * mask.width() + i % step];
    require(buffer[i] == expected, "rows with gaps");
  }
  for (const auto & [bytes, apart] : {
      std::pair{size - 1, step}, {size, step + 1}, {size, std::size_t{mask.width()} - 1},
      {size, SIZE_MAX}, {std::size_t{0}, step}})
  {
    if (mask.height() == 1 && bytes == size && apart >= mask.width()) {
      continue;  // one row fits with any step
    }
    try {
      mask.decode(buffer.get(), bytes, apart);
      require(false, "a buffer that is too small is refused");
    } catch (const MaskError &) {
    }
  }
}

void check_points(const MaskView & mask, const std::vector<std::uint8_t> & whole)
{
  for (std::uint32_t y = 0; y < mask.height(); ++y) {
    for (std::uint32_t x = 0; x < mask.width(); ++x) {
      const bool there = whole[std::size_t{y} * mask.width() + x] != 0;
      require(mask.covers(x, y) == there, "point test");
      require(mask.covers(x - 0.49, y + 0.49) == there, "point test beside the middle");
    }
  }
  for (const double far : {-1.0, -1e300, 1e300, HUGE_VAL, -HUGE_VAL, std::nan("")}) {
    require(!mask.covers(far, 0) && !mask.covers(0, far), "points outside");
  }
  require(!mask.covers(mask.width(), 0) && !mask.covers(0, mask.height()), "points just outside");
}

void describe(const Message & message)
{
  const MaskView mask(message);
  const std::vector<std::uint8_t> whole = mask.decode();
  std::uint64_t area = 0, runs = 0;
  mask.for_each_run(
    [&](const MaskRun & run) {
      require(run.begin < run.end && run.end <= mask.width(), "a run lies in its row");
      require(run.row < mask.height(), "a row lies in the image");
      area += run.end - run.begin;
      ++runs;
    });
  require(area == mask.area() && mask.empty() == (area == 0), "area");
  check_points(mask, whole);
  check_padded(mask, whole, message.counts.size() % 5);
#ifdef RMPSAM_ROS_HAS_OPENCV
  const cv::Mat image = mask.to_mat();
  require(
    image.total() == whole.size() && image.isContinuous() && image.type() == CV_8UC1 &&
    (whole.empty() || std::memcmp(image.data, whole.data(), whole.size()) == 0), "cv::Mat");
#endif
  write(std::uint8_t{0});
  write(mask.area());
  write(runs);
  if (!whole.empty()) {
    std::fwrite(whole.data(), 1, whole.size(), stdout);
  }
}

int main()
{
  Message message;
  while (read(message)) {
    try {
      describe(message);
    } catch (const MaskError &) {
      write(std::uint8_t{1});
    }
  }
  return 0;
}
