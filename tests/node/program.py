"""A program of the installed package as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_prefix

DEADLINE = 60.0  # seconds for a program to end


class Program:
    """One program of the installed package, running as a process of its own with its log."""

    def __init__(self, executable, parameters, remappings, log, wait_for):
        path = Path(get_package_prefix("rmpsam_ros")) / "lib" / "rmpsam_ros" / executable
        command = [sys.executable, str(path), "--ros-args"]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={str(value).lower() if value in (True, False) else value}"]
        for old, new in remappings.items():
            command += ["-r", f"{old}:={new}"]
        self._log, self._wait_for = log, wait_for
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)

    @property
    def log(self):
        return self._log.read_text(errors="replace")

    def wait_for_log(self, words):
        def look():
            code = self.process.poll()
            if code is not None and words not in self.log:
                pytest.fail(f"ended with {code}, without '{words}':\n{self.log}")
            return words in self.log

        try:
            self._wait_for(look, f"'{words}' in the log")
        except pytest.fail.Exception:
            print(self.log)
            raise

    def wait(self):
        """The exit status of a program that ends by itself."""
        return self.process.wait(DEADLINE)

    def end(self, number=signal.SIGINT):
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.wait()
