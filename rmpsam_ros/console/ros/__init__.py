"""The console's side of ROS 2: what one perception node publishes and offers, and nothing else."""
