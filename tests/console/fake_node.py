"""The real perception node around a pipeline without a network, as a program of its own.

Its arguments are those of any node (--ros-args ...). The pipeline is that of the node's tests, a
little slower, so that answers and frames have something to wait for.
"""

import importlib.util
import sys
import threading
import time
from collections import deque
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import MultiThreadedExecutor

from rmpsam_ros.node.process import initialize, spin, wait_for
from rmpsam_ros.node.rmpsam_node import RmpsamNode

FAKE = Path(__file__).resolve().parents[1] / "node" / "fake_pipeline.py"


# As many objects as take 20 steps, so that there is something to be told, and to cancel.
BOXES = [(x, y, x + 12, y + 12) for y in range(0, 64, 16) for x in range(0, 320, 16)]


def block(frame, box):
    mask = np.zeros(frame.geometry.image_size, bool)
    x_min, y_min, x_max, y_max = box.astype(int)
    mask[y_min:y_max, x_min:x_max] = True
    return mask


def load_fake():
    spec = importlib.util.spec_from_file_location("fake_pipeline", FAKE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_pipeline(module):
    pipeline = module.FakePipeline()
    pipeline.pictures = deque(maxlen=1)  # it runs for minutes
    return pipeline


def main():
    module = load_fake()
    prompts, answer = module.FakePrompts, module.FakePrompts.answer
    # As the engines of the SAM family: beside the network, and as slow as a click on a small
    # machine, so that newer frames pass while it is answered.
    prompts.runs_beside = True
    prompts.answer = lambda self, frame, prompt: time.sleep(0.4) or answer(self, frame, prompt)
    prompts.in_boxes = lambda self, frame, boxes: (
        time.sleep(0.06)
        or [module.FoundMask(module.encode_mask(block(frame, box)), 0.75) for box in boxes]
    )
    module.QueryMasks.boxes = lambda self, geometry, objectness: np.array(BOXES, np.float32)
    prompts.look = lambda self, frame, anchor, elapsed: answer(self, frame, None)
    stop = initialize(sys.argv)
    node = RmpsamNode(lambda values, progress: make_pipeline(module))
    executor = MultiThreadedExecutor(node.executor_threads)
    executor.add_node(node)
    spinner = threading.Thread(target=spin, args=(executor, stop), daemon=True)
    spinner.start()
    wait_for(stop)
    node.stop(5.0)
    executor.shutdown(5.0)
    spinner.join(5.0)
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
