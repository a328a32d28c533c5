"""Results as the tools of others read them: definitions in the file, nothing known beforehand."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def expected(camera_result, read):
    """What this project reads."""
    return read(camera_result)


def test_mcap_tools_decode_every_message(camera_result, expected):
    decoders = pytest.importorskip(
        "mcap_ros2.decoder", reason="needs mcap-ros2-support (pip install mcap-ros2-support)"
    )
    from mcap.reader import make_reader

    found = {}
    (path,) = camera_result.glob("*.mcap")
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[decoders.DecoderFactory()])
        summary = reader.get_summary()
        for _, channel, record, message in reader.iter_decoded_messages():
            found.setdefault(channel.topic, []).append((record.log_time, message))
    assert {topic: len(messages) for topic, messages in found.items()} == {
        topic: len(messages) for topic, messages in expected.items()
    }
    assert summary.statistics.message_count == sum(map(len, expected.values()))
    _assert_same_segments(found["/rmpsam/panoptic"], expected["/rmpsam/panoptic"])


def test_rosbags_own_reader_decodes_every_message(camera_result, expected):
    from rosbags.highlevel import AnyReader

    found = {}
    with AnyReader([camera_result]) as reader:
        for connection, time, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((time, message))
    assert set(found) == set(expected)
    _assert_same_segments(found["/rmpsam/panoptic"], expected["/rmpsam/panoptic"])


def _assert_same_segments(found, expected):
    assert [time for time, _ in found] == [time for time, _ in expected]
    assert any(message.segments for _, message in expected)
    for (_, other), (_, ours) in zip(found, expected, strict=True):
        assert other.header.stamp.nanosec == ours.header.stamp.nanosec
        assert np.array_equal(other.run_ids, ours.run_ids)
        assert np.array_equal(other.run_lengths, ours.run_lengths)
        assert [one.id for one in other.segments] == [one.id for one in ours.segments]
