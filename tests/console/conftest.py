"""What the console's tests share: programs on a ROS domain of their own, and a browser."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
DEADLINE = 180.0  # seconds; far more than anything needs, on a busy machine too
ADDRESS = re.compile(r"open (http://\S+)")


def wait_for(condition, what="condition", deadline=DEADLINE):
    """Return the first truthy value of a function; fail when it does not come."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail(f"{what} did not come within {deadline:.0f} s")


@pytest.fixture(name="wait_for", scope="session")
def wait_for_fixture():
    return wait_for


@pytest.fixture(scope="session")
def environment():
    """Environment of the programs: a domain that no other test run on this machine uses."""
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")
    pytest.importorskip("aiohttp", reason="needs aiohttp")
    for domain in random.sample(range(1, 102), 101):
        path = Path(tempfile.gettempdir()) / f"rmpsam_ros_test_domain_{domain}.lock"
        with contextlib.suppress(OSError), path.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            values = {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
            yield {**os.environ, **values}
            return
    raise RuntimeError("every ROS domain is taken by another test run")


class Program:
    """A program as a process, with its log."""

    def __init__(self, command, log, environment):
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=environment
            )

    @property
    def log(self):
        return self._log.read_text(errors="replace")

    def wait_for_log(self, words):
        def look():
            code = self.process.poll()
            if code is not None and words not in self.log:
                pytest.fail(f"ended with {code}, without '{words}':\n{self.log}")
            return words in self.log

        wait_for(look, f"'{words}' in the log")

    @property
    def url(self):
        """The address that a console has printed, with its token."""
        self.wait_for_log("open http")
        return ADDRESS.search(self.log)[1]

    def end(self, number=signal.SIGINT):
        """Send a signal; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def launch(environment, tmp_path_factory):
    """Start programs by name; they end with the tests at the latest."""
    running = []

    def start(name, parameters=None, remappings=None):
        from ament_index_python.packages import get_package_prefix

        folder = Path(get_package_prefix("rmpsam_ros")) / "lib" / "rmpsam_ros"
        path = HERE / "fake_node.py" if name == "fake_node" else folder / name
        command = [sys.executable, str(path), "--ros-args"]
        for key, value in (parameters or {}).items():
            text = str(value).lower() if isinstance(value, bool) else value
            command += ["-p", f"{key}:={text}"]
        for old, new in (remappings or {}).items():
            command += ["-r", f"{old}:={new}"]
        log = tmp_path_factory.mktemp("log") / f"{name}.log"
        program = Program(command, log, environment)
        running.append(program)
        return program

    yield start
    for program in running:
        program.kill()


@pytest.fixture(scope="session")
def footage(tmp_path_factory):
    """A folder of images that a camera can show."""
    import cv2
    import numpy as np

    folder = tmp_path_factory.mktemp("footage")
    for number in range(5):
        image = np.full((240, 320, 3), 40 + 40 * number, np.uint8)
        image[60:120, 80:160] = (30, 90, 230)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def chromium():
    """A real browser, driven by playwright; only in tests that need it: it runs a loop here."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


STAMP = "document.getElementById('stamp').dataset.stamp"
PROMPTS = "#prompts tbody tr"


class World:
    """Node, camera and console as processes."""

    def __init__(self, launch, footage, **console):
        self._launch, self._footage = launch, footage
        self.start_node()
        # Twenty frames a second: many pass while a click is answered.
        camera = {"source": footage, "rate": 20.0, "loop": True}
        self.camera = launch("camera_source", camera)
        self.start_console(**console)

    def start_node(self):
        self.node = self._launch("fake_node")

    def start_console(self, **parameters):
        self.console = self._launch("rmpsam_console", {"port": 0, **parameters})
        return self.console.url

    def end(self):
        for program in (self.console, self.camera, self.node):
            program.kill()


@pytest.fixture(scope="module")
def world(launch, footage):
    world = World(launch, footage)
    yield world
    log = world.console.log
    world.end()
    assert "Traceback" not in log


class Page:
    """A page of the console; what goes wrong in it fails its test."""

    def __init__(self, browser, url, wait_for, **options):
        self._wait_for = wait_for
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda message: message.type == "error" and self.errors.append(message.text),
        )
        self.page.goto(url)

    def __getattr__(self, name):
        return getattr(self.page, name)

    def until(self, expression, what=""):
        """Wait until an expression is true in the page."""
        return self._wait_for(lambda: self.page.evaluate(expression), what or expression)

    def frames(self, count=1):
        """Wait for new frames."""
        number = "Number(document.getElementById('stamp').dataset.number || 0)"
        before = self.page.evaluate(number)
        self.until(f"{number} >= {before} + {count}", "frames")

    def place(self, x, y):
        """Where image pixel (x, y) is in the window."""
        return self.page.evaluate(
            f"""(() => {{
                const view = window.rmpsamConsole.view;
                const [left, top] = view.toCanvas({x}, {y});
                const bounds = view.canvas.getBoundingClientRect();
                const ratio = view.canvas.width / bounds.width;
                return [bounds.left + left / ratio, bounds.top + top / ratio];
            }})()"""
        )

    def close(self):
        self.context.close()
        assert not self.errors


@pytest.fixture
def open_page(chromium, world, wait_for):
    """Open pages; all prompts are gone before and after."""
    pages = []

    def start(url=None, **options):
        page = Page(chromium, url or world.console.url, wait_for, **options)
        pages.append(page)
        return page

    yield start
    for page in pages:
        page.close()


@pytest.fixture
def page(open_page):
    page = open_page(viewport={"width": 1400, "height": 800})
    page.until("window.rmpsamConsole?.state.frame?.ids", "a frame with masks")
    page.evaluate("window.rmpsamConsole.connection.ask('clear').catch(() => {})")
    page.until("document.querySelectorAll('#prompts tbody tr').length === 0", "no prompts")
    return page
