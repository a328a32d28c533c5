# To be sourced by bash: activates the environment made by `make env`, and the built package in it.
#
#   . tools/ros_env.sh            ROS 2 Jazzy: .venv-jazzy, install/jazzy
#   . tools/ros_env.sh kilted     Kilted: .venv-kilted, install/kilted
#
# A script that has arguments of its own can source it: only a distribution's name is taken for
# one, and $RMPSAM_DISTRO comes first.
#
# Works from any folder. After it: ros messages, rclpy and rmpsam_ros can be imported, and the
# executables are in $RMPSAM_INSTALL/lib/rmpsam_ros.

_rmpsam_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
_rmpsam_distro=${RMPSAM_DISTRO:-}
if [ -z "$_rmpsam_distro" ]; then
  # Sourced without arguments, $1 is that of the script around it; at a prompt there is none.
  if [[ ${1:-} =~ ^[a-z]+$ && -f $_rmpsam_root/requirements/ros-$1.txt ]] || [[ $- == *i* ]]; then
    _rmpsam_distro=${1:-jazzy}
  else
    _rmpsam_distro=jazzy
  fi
fi
_rmpsam_venv=$_rmpsam_root/.venv-$_rmpsam_distro
if [ ! -f "$_rmpsam_venv/bin/activate" ]; then
  echo "$_rmpsam_venv is not there: run make DISTRO=$_rmpsam_distro build first" >&2
  unset _rmpsam_root _rmpsam_distro _rmpsam_venv
  return 1
fi

# Nothing of a ROS installation sourced before may mix with this one, nor may the mark that the
# start-up hook of the ROS wheels leaves once LD_LIBRARY_PATH names their libraries.
if [ -n "${AMENT_PREFIX_PATH:-}" ]; then
  unset LD_LIBRARY_PATH
fi
unset PYTHONPATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH ROS_DISTRO _ROS_WHEELS_BOOTSTRAP_COMPLETE

. "$_rmpsam_venv/bin/activate"
export AMENT_PREFIX_PATH=$_rmpsam_venv
export CMAKE_PREFIX_PATH=$_rmpsam_venv
export COLCON_PYTHON_EXECUTABLE=$_rmpsam_venv/bin/python
export RMPSAM_INSTALL=$_rmpsam_root/install/$_rmpsam_distro
if [ -f "$RMPSAM_INSTALL/local_setup.bash" ]; then
  . "$RMPSAM_INSTALL/local_setup.bash"
fi
# Other machines see this one's nodes only if the user says so.
export ROS_AUTOMATIC_DISCOVERY_RANGE=${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}
unset _rmpsam_root _rmpsam_distro _rmpsam_venv
