"""A pipeline without a network, whose frames and prompts a test can hold up or let fail."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np

from rmpsam_ros.pipeline import FrameResult, Pipeline, PromptingConfig, StageTimes
from rmpsam_ros.prompting import (
    Answer,
    FollowPass,
    FoundMask,
    GridStep,
    KeptFrame,
    Prompter,
    QueryMasks,
)
from rmpsam_ros.prompting.refinement import anchor_prompt
from rmpsam_ros.runtime import EngineInfo
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.segmentation.preprocess import Letterbox
from rmpsam_ros.segmentation.results import PanopticResult, Segment
from rmpsam_ros.segmentation.run_length import encode_id_map, encode_mask
from rmpsam_ros.tracking import Track, TrackState

DEADLINE = 60.0  # seconds until a test that never opens a gate fails


class FakePrompts:
    """Sees the same rectangle whatever it is asked, in the thread that `beside` says."""

    name, weights, info = "fake", "no weights", "fake (no weights)"
    runs_beside = False
    error = None

    def __init__(self):
        self.gate = threading.Event()  # answers wait for it
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.threads, self.visible = set(), True

    def answer(self, frame, prompt):
        self.threads.add(threading.current_thread().name)
        self.entered.release()
        assert self.gate.wait(DEADLINE)
        if self.error is not None:
            raise self.error
        mask = np.zeros(frame.geometry.image_size, bool)
        mask[2:5, 3:9] = self.visible
        return Answer(mask, 0.5)

    def look(self, frame, anchor, elapsed):
        return self.answer(frame, anchor_prompt(anchor))

    def on_grid(self, frame, points_per_side):
        for row in range(1, points_per_side + 1):
            self.entered.release()
            assert self.gate.wait(DEADLINE)
            if (yield GridStep(row * points_per_side, self.in_boxes(frame, [None]))):
                break
        return self.in_boxes(frame, [None])

    def in_boxes(self, frame, boxes):
        self.threads.add(threading.current_thread().name)
        mask = np.zeros(frame.geometry.image_size, bool)
        mask[10:20, 10:30] = True
        return [FoundMask(encode_mask(mask), 0.75)] * len(boxes)

    def close(self):
        pass


class FakePipeline(Pipeline):
    """Sees one thing and one stuff segment in every frame, when its gate is open."""

    def __init__(self, labels="coco_panoptic"):
        self.labels, self.others, self.passes, self.together = labels, [], [], False
        self.label_set = load_label_set(labels)
        self.engine_info = EngineInfo("fake 1", "fp32", "nowhere", "fake", "fake weights")
        self.fusion = FusionConfig()
        self.stamps, self.images, self.fusions = [], [], []
        self.resets, self.closed = 0, False
        self.error = None  # raised by the next frames
        self.gate = threading.Event()  # frames and prompts wait for it
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.prompt_engine = FakePrompts()
        self.prompts = Prompter(self.prompt_engine, PromptingConfig(prompt_rate=0))

    def for_another_camera(self):
        other = FakePipeline(self.labels)
        other.prompt_engine = self.prompt_engine
        other.prompts = Prompter(self.prompt_engine, PromptingConfig(prompt_rate=0))
        self.others.append(other)
        return other

    def begin(self, image, stamp, channel_order="rgb"):
        return SimpleNamespace(
            pipeline=self, image=image, stamp=stamp, channel_order=channel_order
        )

    def batches_well(self, frame):
        return self.together

    def infer(self, frames):
        self.passes.append(len(frames))
        outputs = []
        for one in frames:
            pipeline = one.pipeline
            pipeline.entered.release()
            assert pipeline.gate.wait(DEADLINE)
            outputs.append(pipeline.error)
        return outputs

    def finish(self, pending, output):
        image, stamp, channel_order = pending.image, pending.stamp, pending.channel_order
        self.stamps.append(stamp)
        self.images.append((image.copy(), channel_order))
        self.fusions.append(self.fusion)
        height, width = image.shape[:2]
        id_map = np.ones((height, width), np.uint16)
        id_map[: height // 2, : width // 2] = 2
        id_map[-1] = 0
        stuff = len(self.label_set.labels) - 1
        box = (0, 0, width // 2, height // 2)
        area = (height // 2) * (width // 2)
        rest = height * width - width - area
        segments = (
            Segment(1, stuff, False, 0.75, rest, (0, 0, width, height - 1), 3),
            Segment(2, 0, True, 0.5, area, box, 4),
        )
        tracks = (
            Track(7, TrackState.CONFIRMED, 0, 0.5, stamp - 1.5, stamp, 9, 2),
            Track(5, TrackState.LOST, 1, 0.25, stamp - 4.0, stamp - 1.0, 3, 0),
        )
        run_ids, run_lengths = encode_id_map(id_map)
        frame = KeptFrame(
            stamp=stamp,
            image=image.copy(),
            channel_order=channel_order,
            geometry=Letterbox((height, width), (height, width), (height, width)),
            features=None,
            queries=QueryMasks(
                np.ones(1, np.float32),
                np.full((1, 2), 255, np.uint8),
                (4, 4),
                np.eye(1, 8, dtype=np.float32),
            ),
        )
        if not self.prompt_engine.runs_beside:  # as the real one does it, in the pass of the frame
            for one in self.prompts._objects.followed(stamp):
                self.prompts._look(one, frame)
        return FrameResult(
            stamp=stamp,
            height=height,
            width=width,
            panoptic=PanopticResult(id_map, segments),
            run_ids=run_ids,
            run_lengths=run_lengths,
            tracks=tracks,
            track_masks={7: encode_mask(id_map == 2)},
            track_ids={2: 7},
            times=StageTimes(0.001, 0.002, 0.003),
            prompted=self.prompts.keep(frame, FollowPass(), None, None),
        )

    def reset(self):
        self.prompts.reset()
        self.resets += 1

    def close(self):
        self.closed = True
