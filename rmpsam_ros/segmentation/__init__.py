"""From network output to results: pure functions on arrays, free of ROS."""
