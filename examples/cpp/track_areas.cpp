// A node that says where the largest confirmed track is, and how many pixels it has.
//
//   track_areas --ros-args -r tracks:=/rmpsam/tracks

#include <memory>

#include "rclcpp/rclcpp.hpp"
#include "rmpsam_ros/msg/instance_track.hpp"
#include "rmpsam_ros/msg/instance_track_array.hpp"
#include "rmpsam_ros/run_length_mask.hpp"

using rmpsam_ros::msg::InstanceTrack;
using rmpsam_ros::msg::InstanceTrackArray;

class TrackAreas : public rclcpp::Node
{
public:
  TrackAreas()
  : Node("track_areas")
  {
    subscription_ = create_subscription<InstanceTrackArray>(
      "tracks", 5, [this](const InstanceTrackArray & message) {on_tracks(message);});
  }

private:
  void on_tracks(const InstanceTrackArray & message)
  {
    const InstanceTrack * largest = nullptr;
    std::uint64_t largest_area = 0;
    for (const auto & track : message.tracks) {
      try {
        const rmpsam_ros::MaskView mask(track.mask);
        if (track.state == InstanceTrack::CONFIRMED && mask.area() > largest_area) {
          largest = &track;
          largest_area = mask.area();
        }
      } catch (const rmpsam_ros::MaskError & error) {
        RCLCPP_WARN_THROTTLE(
          get_logger(), *get_clock(), 5000, "mask of track %lu: %s",
          static_cast<unsigned long>(track.id), error.what());  // NOLINT(runtime/int)
      }
    }
    if (largest != nullptr) {
      const auto & box = largest->mask.box;
      RCLCPP_INFO(
        get_logger(), "%s %lu: %lu pixels, %u x %u at (%u, %u)", largest->class_name.c_str(),
        static_cast<unsigned long>(largest->id),      // NOLINT(runtime/int)
        static_cast<unsigned long>(largest_area),     // NOLINT(runtime/int)
        box.width, box.height, box.x_offset, box.y_offset);
    }
  }

  rclcpp::Subscription<InstanceTrackArray>::SharedPtr subscription_;
};

int main(int argc, char ** argv)
{
  rclcpp::init(argc, argv);
  rclcpp::spin(std::make_shared<TrackAreas>());
  rclcpp::shutdown();
  return 0;
}
