"""One camera of the node: its subscription, its waiting frame, its results and its figures."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from rmpsam_ros.node import qos
from rmpsam_ros.node.depth.spatial_results import SpatialResults
from rmpsam_ros.node.input import jpeg
from rmpsam_ros.node.input.camera_statistics import CameraStatistics, FrameTimes
from rmpsam_ros.node.input.frame_headers import FrameHeaders, nanoseconds
from rmpsam_ros.node.input.images import DecodedImage, ImageError
from rmpsam_ros.node.input.reading import DamagedImageError, darkness, read_image
from rmpsam_ros.node.input.transport_losses import TransportLosses
from rmpsam_ros.node.parameters.settings import LiveSettings
from rmpsam_ros.node.printable import printable, quoted
from rmpsam_ros.node.results.consumers import ConsumerTopics
from rmpsam_ros.node.results.messages import latency_message
from rmpsam_ros.node.results.processed_frame import ProcessedFrame
from rmpsam_ros.node.results.publishers import ResultPublishers
from rmpsam_ros.node.threads.frame_slot import FrameSlot
from rmpsam_ros.node.topic_names import TopicNames

if TYPE_CHECKING:
    from rmpsam_ros.pipeline import PendingFrame, Pipeline
    from rmpsam_ros.runtime import FrameOutput

LOG_PERIOD = 5.0  # seconds between two lines about the same thing


@dataclass(frozen=True, slots=True)
class Frame:
    """An image message, when it came, and its place in time.

    Attributes:
        arrival: seconds of the monotonic clock.
        stamp: nanoseconds for the pipeline: of the header, or of the receipt if that is 0.
    """

    message: Any
    arrival: float
    stamp: int


@dataclass(frozen=True, slots=True)
class BegunFrame:
    """A frame in the network; `wait` and `decode` are seconds.

    Attributes:
        together: whether the network is faster with several such frames at once.
    """

    frame: Frame
    image: DecodedImage
    pending: PendingFrame
    together: bool
    wait: float
    decode: float


class Camera:
    """Receives the images of one topic while active, and processes them when it is told to.

    The subscription is made once and lives as long as the node: taking it down while the executor
    waits for it is not safe in every distribution. That of a camera that sends best effort comes
    beside it, and takes its place.

    Args:
        names: where its topics are.
        work: notified when an image has arrived.
        settings: with ``image_transport``, which says whether to subscribe to ``image`` or to
            ``image``/compressed, and what may change while the node runs.
        prepare: called in the inference thread before every frame.
        done: called there when the results of a frame have been published.
        consumers: topics in the forms of other packages.
        spatial: topics that need depth; None: there is no depth.

    Attributes:
        names: as given.
        slot: the image that waits.
        statistics: what became of the images.
        losses: images that were sent but never arrived.
        active: whether images are taken in.
        last_arrival: when the last image came, or taking them in began, seconds of the monotonic
            clock.
        last_age: how old that image was when it came, seconds, by its stamp and the node's clock.
        headers: headers of the newest images.
        spatial: as given.
    """

    def __init__(
        self,
        node: Node,
        names: TopicNames,
        work: threading.Condition,
        settings: LiveSettings,
        prepare: Callable[[Pipeline], None],
        done: Callable[[], None],
        consumers: ConsumerTopics,
        spatial: SpatialResults | None,
    ) -> None:
        self.names = names
        self._logger = node.get_logger()
        self._settings = settings
        self._prepare = prepare
        self._done = done
        compressed = settings.current.image_transport == "compressed"
        if compressed and not jpeg.finds_damage():
            self._logger.warning(jpeg.NOT_INSTALLED)
        self.slot: FrameSlot[Frame] = FrameSlot(work)
        self.statistics, self.losses = CameraStatistics(), TransportLosses()
        self.headers = FrameHeaders()
        self.publishers = ResultPublishers(
            node, names, settings, self._on_overlay_error, self.headers, consumers, spatial
        )
        self.spatial = spatial
        self.active = False
        self.last_arrival = self.last_age = 0.0
        self._last_image: float | None = None
        self._newest_stamp: int | None = None  # as `Frame.stamp`
        self._clock = node.get_clock()
        self._node = node
        # A remapped `image` moves the compressed topic along, as image_transport does it.
        topic = node.resolve_topic_name(names.input("image"))
        topic = f"{topic}/compressed" if compressed else topic
        reliability = settings.current.image_reliability
        self.subscription = qos.create_subscription(
            node,
            CompressedImage if compressed else Image,
            topic,
            self._on_image_asked_for,
            qos.image_input(reliability),
        )
        self._may_change = reliability == "auto" and not qos.is_overridden(
            node, topic, "subscription", "reliability"
        )
        self._best_effort: Subscription | None = None

    def start(self) -> None:
        """Take in images from now on."""
        self.last_arrival = time.monotonic()
        self.losses = TransportLosses()  # what was sent meanwhile is not lost
        if self.spatial is not None:
            self.spatial.start()
        self.active = True

    def stop(self) -> None:
        """Take in no more images; the one that waits is dropped."""
        self.active = False
        self.slot.clear()
        if self.spatial is not None:
            self.spatial.stop()

    def forget(self) -> None:
        """Begin anew, with another pipeline: no newest frame, all counts at 0."""
        self._newest_stamp = self._last_image = None
        self.headers.clear()
        self.statistics = CameraStatistics()
        self.slot.reset_counts()

    def silent_for(self) -> float:
        """Return the seconds since the last image came; 0: none has come yet."""
        last = self._last_image
        return 0.0 if last is None else time.monotonic() - last

    @property
    def profile(self) -> QoSProfile:
        """The quality of service with which images are heard now."""
        profile: QoSProfile = (self._best_effort or self.subscription).qos_profile
        return profile

    def hear_best_effort(self) -> bool:
        """Hear cameras that send best effort from now on; False: the user chose otherwise."""
        if self._best_effort is None and self._may_change:
            self._best_effort = qos.create_subscription(
                self._node,
                self.subscription.msg_type,
                self.subscription.topic_name,
                self._on_image,
                qos.image_input("best_effort"),
                overridable=False,
            )
            self.losses = TransportLosses()  # messages of two subscriptions have gaps
        return self._best_effort is not None

    def _on_image_asked_for(self, message: Any, info: Mapping[str, Any]) -> None:
        if self._best_effort is None:  # else the other one hears it, too
            self._on_image(message, info)

    def _on_image(self, message: Any, info: Mapping[str, Any]) -> None:
        if not self.active:
            return
        self.losses.note(info)
        self.last_arrival = self._last_image = time.monotonic()
        now, stamp = self._clock.now().nanoseconds, nanoseconds(message.header.stamp)
        self.last_age = (now - (stamp or now)) * 1e-9
        # Some cameras stamp no image; simulated time may stand at 0.
        self.slot.offer(Frame(message, self.last_arrival, stamp or now or time.monotonic_ns()))

    def begin(self, pipeline: Pipeline, frame: Frame) -> BegunFrame | None:
        """Decode and prepare one frame; what goes wrong is counted and logged, and gives None."""
        try:
            return self._begin(pipeline, frame)
        except Exception as error:
            self._fail(error)
            return None

    def finish(
        self, pipeline: Pipeline, begun: BegunFrame, output: FrameOutput | Exception
    ) -> None:
        """Publish the results of one frame; what goes wrong is counted and logged."""
        if isinstance(output, Exception):
            self._fail(output)
            return
        try:
            self._finish(pipeline, begun, output)
        except Exception as error:
            self._fail(error)

    def _begin(self, pipeline: Pipeline, frame: Frame) -> BegunFrame:
        started = time.monotonic()
        self._prepare(pipeline)
        image = self._read(frame.message)
        decoded = time.monotonic()
        self._reset_after_jump(pipeline, frame.stamp)
        if self.spatial is not None:
            self.spatial.hold(frame.stamp)
        stamp = frame.stamp * 1e-9
        # Now, because a prompt may see the frame before this method goes on.
        self.headers.remember(stamp, frame.message.header)
        pending = pipeline.begin(image.pixels, stamp, image.channel_order)
        together = pipeline.batches_well(pending)
        wait, decode = started - frame.arrival, decoded - started
        return BegunFrame(frame, image, pending, together, wait, decode)

    def _read(self, message: Any) -> DecodedImage:
        settings = self._settings.current
        try:
            image = read_image(message, settings.damaged_images == "use", settings.mono16_white)
        except DamagedImageError as error:
            self.statistics.note_damage(str(error))
            raise
        if image.damage:
            self.statistics.note_damage(f"JPEG is damaged and used: {image.damage}")
            self._logger.warning(
                f"{self.names.about('image')} is damaged and used all the same "
                f"({self.statistics.damaged} so far): {image.damage}",
                throttle_duration_sec=LOG_PERIOD,
            )
        self.statistics.note_darkness(darkness(image, settings.mono16_white))
        return image

    def _finish(self, pipeline: Pipeline, begun: BegunFrame, output: FrameOutput) -> None:
        frame, image, header = begun.frame, begun.image, begun.frame.message.header
        result = pipeline.finish(begun.pending, output)
        if self._newest_stamp is None:
            self._log_first(frame, image)
        self._newest_stamp = frame.stamp
        self.headers.newest = header
        fill, publish = self.publishers.publish(
            ProcessedFrame(header, frame.stamp, image, result, pipeline)
        )
        times = FrameTimes(
            wait=begun.wait,
            decode=begun.decode,
            preprocess=result.times.preprocess,
            inference=result.times.inference,
            postprocess=result.times.postprocess,
            fill=fill,
            publish=publish,
            total=time.monotonic() - frame.arrival,
        )
        self.statistics.succeed(times)
        self.publishers.publish_latency(latency_message(header, times, self.statistics, self.slot))
        # Last, because another thread begins at once and would take turns with this one.
        self._done()

    def _reset_after_jump(self, pipeline: Pipeline, stamp: int) -> None:
        """Start anew when time went back: simulation restarted, bag played again."""
        if self._newest_stamp is None:
            return
        back = (self._newest_stamp - stamp) * 1e-9
        if back > self._settings.current.backward_jump:
            self._logger.warning(
                f"{self.names.about('image')} stamps went back by {back:.3f} s (more than "
                "backward_jump): all tracks end and new ones begin",
                throttle_duration_sec=LOG_PERIOD,
            )
            pipeline.reset()

    def _log_first(self, frame: Frame, image: DecodedImage) -> None:
        height, width = image.pixels.shape[:2]
        encoding = printable(getattr(frame.message, "encoding", "") or frame.message.format, 40)
        frame_id = printable(frame.message.header.frame_id, 80)
        self._logger.info(
            f"first {self.names.about('image')} processed: {width} x {height}, {encoding}, from "
            f"'{frame_id}', after {time.monotonic() - frame.arrival:.2f} s"
        )

    def _fail(self, error: Exception) -> None:
        expected = isinstance(error, ImageError)
        reason = printable(str(error) if expected else f"{type(error).__name__}: {error}")
        self.statistics.fail(reason)
        self._logger.warning(
            f"{self.names.about('image')} not processed ({self.statistics.failed} so far): "
            f"{reason}",
            throttle_duration_sec=LOG_PERIOD,
        )
        if not expected:
            details = quoted("".join(traceback.format_exception(error)))
            self._logger.error(details, throttle_duration_sec=LOG_PERIOD)

    def _on_overlay_error(self, error: Exception) -> None:
        self._logger.warning(
            f"{self.names.about('overlay')} not drawn: {type(error).__name__}: {error}",
            throttle_duration_sec=LOG_PERIOD,
        )
