# make demo          see the node work on real video (creates and builds everything it needs)
# make console       the same footage in a loop, with a page for the browser
# make check         lint, types, and the tests that execute no network: a few minutes
# make test          lint, types and all tests against the built package but the exhaustive ones
# make test-exhaustive  every network, form and precision exported and built: long
# make fuzz          made-up inputs for images, requests, masks and weights; long (EXAMPLES=20000)
# make test-gpu      the tests that need a GPU or TensorRT; says of each why it is skipped
# make test-kilted   the ROS tests against ROS 2 Kilted
# make smoke-kilted  the package built for Kilted, and its node started in all ways
# make env build native lint clean      the single steps
#
# Everything runs on ROS 2 Jazzy unless DISTRO=kilted is given. An environment is made once for
# each distribution, .venv-jazzy and .venv-kilted, and a build in install/<distribution>.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
.PHONY: demo console check test fuzz test-exhaustive test-gpu test-kilted smoke-kilted env env-test build native lint clean

DISTRO ?= jazzy
EXAMPLES ?= 20000
VENV := .venv-$(DISTRO)
REQUIREMENTS := requirements/core.txt requirements/dev.txt
# A thread each: OpenMP's threads wait for work by spinning, and those of two processes on two cores
# spin away three quarters of the time. Three processes, because tests of programs wait a lot.
PYTEST := env OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} \
	pytest --numprocesses $${RMPSAM_TEST_PROCESSES:-3} --dist loadscope --no-loadscope-reorder

# What needs neither a network nor the middleware: pure functions, files, single threads.
CHECKED := tests/segmentation tests/tracking tests/geometry tests/data tests/weights_store \
	tests/messages tests/cpp \
	tests/node/parameters tests/node/input tests/node/results tests/node/depth \
	tests/node/threads tests/launch $(wildcard tests/test_*.py)

in_ros = set +u; RMPSAM_DISTRO=$(DISTRO); . tools/ros_env.sh; set -u;

demo: build
	@$(in_ros) python demo/run_demo.py

check: build lint
	@$(in_ros) $(PYTEST) $(CHECKED)

console: build
	@$(in_ros) python demo/run_console.py

test: build lint env-test
	@$(in_ros) $(PYTEST) -m "not exhaustive" --durations=10

fuzz: build env-test
	@$(in_ros) RMPSAM_FUZZ_EXAMPLES=$(EXAMPLES) pytest --durations=0 tests/fuzz

test-exhaustive: build env-test
	@$(in_ros) $(PYTEST) -m exhaustive

test-gpu: build env-test
	@$(in_ros) COLUMNS=200 pytest -vv -m gpu

test-kilted:
	@$(MAKE) --no-print-directory DISTRO=kilted build
	@set +u; . tools/ros_env.sh kilted; set -u; $(PYTEST) tests/node

smoke-kilted:
	@$(MAKE) --no-print-directory DISTRO=kilted build
	@set +u; . tools/ros_env.sh kilted; set -u; pytest tests/node/test_integration_start.py

env:
	@python3 tools/make_env.py $(VENV) $(REQUIREMENTS) requirements/ros-$(DISTRO).txt

# Large, and only for tests: where it cannot be had, they are skipped.
env-test: env
	@python3 tools/install_optional.py $(VENV) requirements/test-runtime.txt
	@python3 tools/install_optional.py $(VENV) requirements/test-browser.txt
	@python3 tools/install_optional.py $(VENV) requirements/test-fuzz.txt
	@python3 tools/install_chromium.py

# Merged, so that install/<distribution> is the prefix of the package itself.
build: env
	@$(in_ros) echo "Building for $(DISTRO) (a minute the first time) ..."; \
	MAKEFLAGS=-j$$(nproc) colcon --log-base log/$(DISTRO) build --merge-install \
		--build-base build/$(DISTRO) --install-base install/$(DISTRO) \
		--cmake-args -DPython3_EXECUTABLE="$$(command -v python)" -DBUILD_TESTING=OFF

# The kernels inside the source tree, for work with PYTHONPATH set to it.
native: env
	@$(VENV)/bin/python setup.py --quiet build_ext --inplace

lint: env
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/mypy

clean:
	rm -rf build install log dist demo/out *.egg-info
