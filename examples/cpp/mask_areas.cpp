// Prints the masks of a recorded ~/tracks message: id, class, area, box, one line for each track.
//
//   mask_areas FILE
//
// FILE holds the bytes of one rmpsam_ros/msg/InstanceTrackArray as they travel (CDR): the data of
// a message in a bag, or what rclpy.serialization.serialize_message gives in Python.

#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "rcutils/allocator.h"
#include "rmpsam_ros/msg/instance_track_array.hpp"
#include "rmpsam_ros/run_length_mask.hpp"
#include "rmw/rmw.h"
#include "rosidl_typesupport_cpp/message_type_support.hpp"

namespace
{

bool read_message(std::vector<std::uint8_t> & bytes, rmpsam_ros::msg::InstanceTrackArray & message)
{
  rmw_serialized_message_t serialized = rmw_get_zero_initialized_serialized_message();
  serialized.buffer = bytes.data();
  serialized.buffer_length = serialized.buffer_capacity = bytes.size();
  serialized.allocator = rcutils_get_default_allocator();
  const auto * type =
    rosidl_typesupport_cpp::get_message_type_support_handle<rmpsam_ros::msg::InstanceTrackArray>();
  return rmw_deserialize(&serialized, type, &message) == RMW_RET_OK;
}

}  // namespace

int main(int argc, char ** argv)
{
  if (argc != 2) {
    std::cerr << "usage: mask_areas FILE\n";
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  if (!file) {
    std::cerr << argv[1] << " cannot be read\n";
    return 1;
  }
  std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
  rmpsam_ros::msg::InstanceTrackArray message;
  if (!read_message(bytes, message)) {
    std::cerr << argv[1] << " is not one rmpsam_ros/msg/InstanceTrackArray\n";
    return 1;
  }
  for (const auto & track : message.tracks) {
    try {
      const rmpsam_ros::MaskView mask(track.mask);
      const auto & box = mask.box();
      std::cout << track.id << ' ' << track.class_name << ' ' << mask.area() << ' ' <<
        box.x_offset << ' ' << box.y_offset << ' ' << box.width << ' ' << box.height << '\n';
    } catch (const rmpsam_ros::MaskError & error) {
      std::cerr << "track " << track.id << ": " << error.what() << '\n';
      return 1;
    }
  }
  return 0;
}
