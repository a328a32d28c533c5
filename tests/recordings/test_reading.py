"""Reading recordings: every kind, and what is damaged."""

import os
import sqlite3

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.reading import Recording

from .conftest import HEIGHT, SECOND, START, WIDTH, scene

IMAGE = "sensor_msgs/msg/Image"


def stamps(recording, topic="/image"):
    return [one.time for one in recording.messages({topic})]


def noise(index):
    """An image that no compression makes small: several of them fill a chunk."""
    return np.random.default_rng(index).integers(0, 256, (400, 400, 3), np.uint8)


@pytest.fixture
def long_bag(write_bag, tmp_path):
    """12 images in chunks of three."""

    def fill(bag):
        for k in range(12):
            bag.image("/image", START + k * SECOND, noise(k))

    return write_bag(tmp_path / "long", fill)


def test_messages_come_in_the_order_of_their_times(write_bag, tmp_path):
    def fill(bag):
        for k in (2, 0, 1):
            bag.image("/image", START + k, scene(k))

    with Recording(write_bag(tmp_path / "bag", fill)) as recording:
        assert stamps(recording) == [START, START + 1, START + 2]
        assert stamps(recording) == [START, START + 1, START + 2]  # again, from the beginning
        assert recording.first("/image").time == START
        assert recording.first("/nothing") is None


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_storage_file_alone_is_read_too(write_bag, tmp_path, storage):
    bag = write_bag(tmp_path / "bag", lambda b: b.image("/image", START, scene(0)), storage)
    (file,) = [one for one in bag.iterdir() if one.suffix in (".mcap", ".db3")]
    with Recording(file) as recording:
        assert stamps(recording) == [START]
        assert recording.damage == ()


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_recordings(tmp_path, types, mode):
    writer = Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/image", IMAGE, typestore=types.store)
        writer.write(connection, START, types.serialize(types.Image(height=3)))
    with Recording(tmp_path / "bag") as recording:
        (message,) = recording.messages({"/image"})
        assert types.deserialize(message.data, IMAGE).height == 3


def test_a_ros_1_bag_is_given_as_ros_2_has_it(tmp_path, types):
    store = get_typestore(Stores.ROS1_NOETIC)
    kinds = store.types
    time = kinds["builtin_interfaces/msg/Time"](sec=17, nanosec=5)
    header = kinds["std_msgs/msg/Header"](seq=3, stamp=time, frame_id="eye")
    image = kinds[IMAGE](
        header=header,
        height=HEIGHT,
        width=WIDTH,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * WIDTH,
        data=scene(0).reshape(-1),
    )
    roi = kinds["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    info = kinds["sensor_msgs/msg/CameraInfo"](
        header, HEIGHT, WIDTH, "plumb_bob", np.zeros(5), np.arange(9.0), np.zeros(9),
        np.zeros(12), 0, 0, roi,
    )  # fmt: skip
    with Writer1(tmp_path / "old.bag") as writer:
        for topic, message in (("/eye/image", image), ("/eye/camera_info", info)):
            connection = writer.add_connection(topic, message.__msgtype__, typestore=store)
            data = store.serialize_ros1(message, message.__msgtype__)
            writer.write(connection, START, data)
    with Recording(tmp_path / "old.bag") as recording:
        (message,) = recording.messages({"/eye/image"})
        read = types.deserialize(message.data, IMAGE)
        assert (read.header.stamp.sec, read.header.frame_id) == (17, "eye")
        np.testing.assert_array_equal(read.data.reshape(HEIGHT, WIDTH, 3), scene(0))
        (message,) = recording.messages({"/eye/camera_info"})
        np.testing.assert_array_equal(
            types.deserialize(message.data, "sensor_msgs/msg/CameraInfo").k, np.arange(9.0)
        )


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def damage_chunk(path):
    """Overwrite what lies in the middle of the second chunk, more than one block of it."""
    data = bytearray(path.read_bytes())
    place, length = len(data) * 3 // 8 - 100_000, 200_000
    data[place : place + length] = bytes(length)
    path.write_bytes(data)


def without_index(path):
    path.parent.joinpath("metadata.yaml").unlink()
    cut(path)


@pytest.mark.parametrize(
    ("harm", "readable", "words"),
    [
        (cut, range(6, 9), "breaks off"),
        (damage_chunk, (9,), "damaged chunk"),
        (without_index, range(6, 9), "breaks off"),
    ],
)
def test_what_is_whole_in_a_damaged_mcap_is_read(long_bag, harm, readable, words):
    harm(long_bag / "long.mcap")
    with Recording(long_bag) as recording:
        found = stamps(recording)
        assert len(found) in readable
        assert found == sorted(set(found))
        assert set(found) <= {START + k * SECOND for k in range(12)}
        assert words in "; ".join(recording.damage)
        assert stamps(recording) == found


def test_a_recording_whose_metadata_is_missing_is_read(long_bag):
    (long_bag / "metadata.yaml").unlink()
    with Recording(long_bag) as recording:
        assert len(stamps(recording)) == 12
        assert any("metadata" in line for line in recording.damage)


def test_a_damaged_sqlite3_file_is_read_as_far_as_it_goes(write_bag, tmp_path):
    def fill(bag):
        for k in range(12):
            bag.image("/image", START + k * SECOND, noise(k))

    bag = write_bag(tmp_path / "bag", fill, "sqlite3")
    file = bag / "bag.db3"
    cut(file)
    with Recording(bag) as recording:
        found = stamps(recording)
        assert found == [START + k * SECOND for k in range(len(found))]
        assert 0 < len(found) < 12
        assert recording.damage


def empty(path):
    path.write_bytes(b"")


def garbage(path):
    path.write_bytes(os.urandom(5000))


def half_a_header(path):
    path.write_bytes(path.read_bytes()[:20])


@pytest.mark.parametrize("harm", [empty, garbage, half_a_header])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_file_that_holds_nothing_is_refused(write_bag, tmp_path, storage, harm):
    bag = write_bag(tmp_path / "bag", lambda b: b.image("/image", START, scene(0)), storage)
    (file,) = [one for one in bag.iterdir() if one.suffix in (".mcap", ".db3")]
    harm(file)
    for path in (bag, file):
        with pytest.raises(RecordingError, match="cannot be read"):
            Recording(path)


def test_other_things_are_refused_with_the_reason(tmp_path):
    with pytest.raises(RecordingError, match="does not exist"):
        Recording(tmp_path / "nothing")
    (tmp_path / "video.mp4").write_bytes(b"x")
    with pytest.raises(RecordingError, match="expected a rosbag2 folder"):
        Recording(tmp_path / "video.mp4")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RecordingError, match="cannot be read"):
        Recording(tmp_path / "folder")
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n" + bytes(100))
    with pytest.raises(RecordingError, match="reindex"):
        Recording(tmp_path / "old.bag")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_refused(long_bag):
    (long_bag / "long.mcap").chmod(0)
    with pytest.raises(RecordingError, match="may not be read"):
        Recording(long_bag)


def test_an_error_of_the_disk_in_the_middle_is_damage(long_bag, monkeypatch):
    with Recording(long_bag) as recording:
        source = recording._source

        def failing(wanted):
            for place, message in enumerate(type(source).messages(source, wanted)):
                if place == 5:
                    raise OSError(5, "Input/output error")
                yield message

        monkeypatch.setattr(source, "messages", failing, raising=True)
        found = stamps(recording)
        assert found == [START + k * SECOND for k in range(12)]
        assert any("Input/output error" in line for line in recording.damage)


def test_old_sqlite3_recordings_without_definitions_are_read(write_bag, tmp_path, types):
    bag = write_bag(tmp_path / "bag", lambda b: b.image("/image", START, scene(0)), "sqlite3")
    with sqlite3.connect(bag / "bag.db3") as database:
        database.executescript(
            "DROP TABLE message_definitions; DROP TABLE schema; DROP TABLE metadata;"
            "ALTER TABLE topics DROP COLUMN type_description_hash;"
        )
    with Recording(bag / "bag.db3") as recording:
        (message,) = recording.messages({"/image"})
        assert message.topic.definition == ""
        assert types.deserialize(message.data, IMAGE).height == HEIGHT
