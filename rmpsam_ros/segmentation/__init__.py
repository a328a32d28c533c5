"""What turns network output into results: pure functions on arrays, free of ROS."""
