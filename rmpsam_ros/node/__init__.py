"""The ROS 2 node: topics, parameters, services and diagnostics around the pipeline."""
