#!/usr/bin/env bash
# Sources ROS 2 and the package, and runs what is given.
set -e
. "/opt/ros/$ROS_DISTRO/setup.bash"
if [ -f /ws/install/setup.bash ]; then
  . /ws/install/setup.bash
fi
exec "$@"
