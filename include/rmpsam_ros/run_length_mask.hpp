// Masks of rmpsam_ros messages in C++: area, box, point test, runs, and decoding to a buffer or to
// cv::Mat. Header only; needs C++17 and nothing else. The messages' own headers are not included:
// whatever has the fields of rmpsam_ros/msg/RunLengthMask is read.
//
//   #include <rmpsam_ros/run_length_mask.hpp>
//
//   for (const auto & track : message->tracks) {
//     const rmpsam_ros::MaskView mask(track.mask);  // throws MaskError where it is malformed
//     if (mask.covers(320, 200)) {
//       std::cout << track.class_name << ": " << mask.area() << " pixels\n";
//     }
//   }

#ifndef RMPSAM_ROS__RUN_LENGTH_MASK_HPP_
#define RMPSAM_ROS__RUN_LENGTH_MASK_HPP_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__has_include)
#if __has_include(<opencv2/core/mat.hpp>)
#include <opencv2/core/mat.hpp>
#define RMPSAM_ROS_HAS_OPENCV 1
#endif
#endif

namespace rmpsam_ros
{

/// What is wrong with a mask, or with the buffer that it is to be decoded into.
class MaskError : public std::invalid_argument
{
public:
  using std::invalid_argument::invalid_argument;
};

/// Tight box around a mask, pixels of the image.
struct MaskBox
{
  std::uint32_t x_offset = 0;
  std::uint32_t y_offset = 0;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
};

/// Pixels from column `begin` to before column `end` of one row of the image.
struct MaskRun
{
  std::uint32_t row = 0;
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};

/// One mask, read where it lies: the message must outlive the view.
///
/// The constructor checks everything that the methods rely on, in time that grows with the number
/// of runs, not of pixels. No method reads or writes outside the mask, the buffer or the image.
class MaskView
{
public:
  /// Larger images are refused: no camera takes them, and a damaged message could ask for any size.
  static constexpr std::uint64_t MAX_PIXELS = std::uint64_t{1} << 31;

  /// Read the fields of a mask.
  ///
  /// `counts`: alternating runs of 0 and 1 over the box in row-major order, zeros first.
  /// Throws MaskError: the image is too large, the box leaves it, or the counts do not add up to
  /// the area of the box.
  MaskView(
    std::uint32_t height, std::uint32_t width, const MaskBox & box, const std::uint32_t * counts,
    std::size_t number_of_counts)
  : height_(height), width_(width), box_(box), counts_(counts), size_(number_of_counts)
  {
    const std::uint64_t pixels = std::uint64_t{height} * width;
    if (pixels > MAX_PIXELS) {
      throw MaskError(
              "an image of " + size_text(width, height) + " pixels is larger than " +
              std::to_string(MAX_PIXELS) + " pixels");
    }
    if (std::uint64_t{box.x_offset} + box.width > width ||
      std::uint64_t{box.y_offset} + box.height > height)
    {
      throw MaskError(
              "box of " + size_text(box.width, box.height) + " pixels at (" +
              std::to_string(box.x_offset) + ", " + std::to_string(box.y_offset) +
              ") leaves the " + size_text(width, height) + " image");
    }
    std::uint64_t total = 0;  // 2^32 counts of 2^32 - 1 at most: no overflow
    for (std::size_t i = 0; i < size_; ++i) {
      total += counts_[i];
      area_ += i % 2 == 1 ? counts_[i] : 0;
    }
    if (total != std::uint64_t{box.width} * box.height) {
      throw MaskError(
              "counts add up to " + std::to_string(total) + ", which is not the area of a box of " +
              size_text(box.width, box.height) + " pixels");
    }
  }

  /// Read a message: rmpsam_ros::msg::RunLengthMask, or anything with its fields.
  template<typename Message>
  explicit MaskView(const Message & message)
  : MaskView(
      message.height, message.width,
      MaskBox{message.box.x_offset, message.box.y_offset, message.box.width, message.box.height},
      message.counts.data(), message.counts.size())
  {
  }

  // A message that ends with the expression cannot be viewed.
  template<typename Message>
  explicit MaskView(const Message && message) = delete;

  /// Height of the whole image, pixels.
  std::uint32_t height() const {return height_;}

  /// Width of the whole image, pixels.
  std::uint32_t width() const {return width_;}

  /// Tight box around the mask.
  const MaskBox & box() const {return box_;}

  /// Pixels of the mask.
  std::uint64_t area() const {return area_;}

  /// Whether no pixel belongs to the mask: a lost track.
  bool empty() const {return area_ == 0;}

  /// Whether the pixel nearest to (x, y), pixels of the image, belongs to the mask.
  bool covers(double x, double y) const
  {
    const double column = std::floor(x + 0.5) - box_.x_offset;
    const double row = std::floor(y + 0.5) - box_.y_offset;
    if (!(column >= 0.0 && column < box_.width && row >= 0.0 && row < box_.height)) {
      return false;  // NaN, too
    }
    const std::uint64_t pixel =
      static_cast<std::uint64_t>(row) * box_.width + static_cast<std::uint64_t>(column);
    std::uint64_t end = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      end += counts_[i];
      if (pixel < end) {
        return i % 2 == 1;
      }
    }
    return false;
  }

  /// Call `use(const MaskRun &)` for every run of the mask, row by row; none passes a row's end.
  template<typename Use>
  void for_each_run(Use && use) const
  {
    std::uint64_t place = 0;  // in the box
    for (std::size_t i = 0; i < size_; ++i) {
      const std::uint64_t end = place + counts_[i];
      while (i % 2 == 1 && place < end) {
        const std::uint64_t row = place / box_.width;
        const std::uint64_t stop = std::min(end, (row + 1) * box_.width);
        MaskRun run;
        run.row = static_cast<std::uint32_t>(box_.y_offset + row);
        run.begin = static_cast<std::uint32_t>(box_.x_offset + (place - row * box_.width));
        run.end = static_cast<std::uint32_t>(run.begin + (stop - place));
        use(static_cast<const MaskRun &>(run));
        place = stop;
      }
      place = end;
    }
  }

  /// Write `value` where the mask is, and nothing elsewhere: several masks into one map.
  ///
  /// `pixels`: of the whole image, rows `step` bytes apart; `size`: bytes that may be written.
  /// Throws MaskError: the buffer is too small for the image, and nothing was written.
  void paint(std::uint8_t * pixels, std::size_t size, std::size_t step, std::uint8_t value) const
  {
    check_buffer(size, step);
    for_each_run(
      [&](const MaskRun & run) {
        std::memset(pixels + run.row * step + run.begin, value, run.end - run.begin);
      });
  }

  /// Write the whole image: `value` where the mask is, 0 elsewhere. Otherwise as `paint`.
  void decode(
    std::uint8_t * pixels, std::size_t size, std::size_t step, std::uint8_t value = 255) const
  {
    check_buffer(size, step);
    for (std::size_t row = 0; row < height_ && width_ > 0; ++row) {
      std::memset(pixels + row * step, 0, width_);
    }
    paint(pixels, size, step, value);
  }

  /// Return the whole image, height * width bytes without gaps.
  std::vector<std::uint8_t> decode(std::uint8_t value = 255) const
  {
    std::vector<std::uint8_t> pixels(std::size_t{height_} * width_, 0);
    paint(pixels.data(), pixels.size(), width_, value);
    return pixels;
  }

#ifdef RMPSAM_ROS_HAS_OPENCV
  /// Return the whole image as CV_8UC1: `value` where the mask is, 0 elsewhere.
  cv::Mat to_mat(std::uint8_t value = 255) const
  {
    if (height_ > INT32_MAX || width_ > INT32_MAX) {  // one is 0: cv::Mat counts in int
      throw MaskError("an image of " + size_text(width_, height_) + " pixels is no cv::Mat");
    }
    cv::Mat image(static_cast<int>(height_), static_cast<int>(width_), CV_8UC1);
    if (!image.empty()) {
      decode(image.data, image.total() * image.elemSize(), image.step[0], value);
    }
    return image;
  }
#endif

private:
  static std::string size_text(std::uint64_t width, std::uint64_t height)
  {
    return std::to_string(width) + " x " + std::to_string(height);
  }

  void check_buffer(std::size_t size, std::size_t step) const
  {
    if (height_ == 0 || width_ == 0) {
      return;
    }
    // Divided, not multiplied: step may be any number.
    if (step < width_ || size < width_ || (size - width_) / step < std::size_t{height_} - 1) {
      throw MaskError(
              "a buffer of " + std::to_string(size) + " bytes with rows " + std::to_string(step) +
              " bytes apart is too small for " + size_text(width_, height_) + " pixels");
    }
  }

  std::uint32_t height_;
  std::uint32_t width_;
  MaskBox box_;
  const std::uint32_t * counts_;
  std::size_t size_;
  std::uint64_t area_ = 0;
};

}  // namespace rmpsam_ros

#endif  // RMPSAM_ROS__RUN_LENGTH_MASK_HPP_
