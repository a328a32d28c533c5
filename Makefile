# make demo          see the node work on real video (creates and builds everything it needs)
# make console       the same footage in a loop, with a page for the browser
# make test          lint, types and all tests against the built package
# make test-gpu      the tests that need a GPU or TensorRT; says of each why it is skipped
# make test-jazzy    the ROS tests against ROS 2 Jazzy
# make smoke-jazzy   the package built for Jazzy, and its node started in all ways
# make env build native lint clean      the single steps

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
.PHONY: demo console test smoke-jazzy test-gpu test-jazzy env env-test env-jazzy build build-jazzy native lint clean

REQUIREMENTS := requirements/core.txt requirements/dev.txt

# Merged, so that install/<distribution> is the prefix of the package itself.
colcon_build = set +u; . tools/ros_env.sh $(1); set -u; \
	echo "Building for $(1) (a minute the first time) ..."; \
	MAKEFLAGS=-j$$(nproc) colcon --log-base log/$(1) build --merge-install \
		--build-base build/$(1) --install-base install/$(1) \
		--cmake-args -DPython3_EXECUTABLE="$$(command -v python)" -DBUILD_TESTING=OFF

demo: build
	@set +u; . tools/ros_env.sh; set -u; python demo/run_demo.py

console: build
	@set +u; . tools/ros_env.sh; set -u; python demo/run_console.py

test: build lint env-test
	@set +u; . tools/ros_env.sh; set -u; pytest --durations=10

test-gpu: build env-test
	@set +u; . tools/ros_env.sh; set -u; COLUMNS=200 pytest -vv -m gpu

test-jazzy: build-jazzy
	@set +u; . tools/ros_env.sh jazzy; set -u; pytest tests/node

smoke-jazzy: build-jazzy
	@set +u; . tools/ros_env.sh jazzy; set -u; pytest tests/node/test_integration_start.py

env:
	@python3 tools/make_env.py .venv $(REQUIREMENTS) requirements/ros-kilted.txt

# Large, and only for tests: where it cannot be had, they are skipped.
env-test: env
	@python3 tools/install_optional.py .venv requirements/test-runtime.txt
	@python3 tools/install_optional.py .venv requirements/test-browser.txt
	@python3 tools/install_chromium.py

env-jazzy:
	@python3 tools/make_env.py .venv-jazzy $(REQUIREMENTS) requirements/ros-jazzy.txt

build: env
	@$(call colcon_build,kilted)

build-jazzy: env-jazzy
	@$(call colcon_build,jazzy)

# The kernels inside the source tree, for work with PYTHONPATH set to it.
native: env
	@.venv/bin/python setup.py --quiet build_ext --inplace

lint: env
	@.venv/bin/ruff check .
	@.venv/bin/mypy

clean:
	rm -rf build install log dist demo/out *.egg-info
