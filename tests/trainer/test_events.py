"""TensorBoard's files, read back by the documented format: nothing here is the writer's."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer import events
from twofold.series import MetricPoint

ATTEMPT = "01J00000000000000000000001"


def checksum(data: bytes) -> int:
    """Masked CRC-32C bit by bit, as record_writer.h and RFC 3720 define it."""
    value = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            is_set = (value ^ byte >> bit) & 1
            value = value >> 1 ^ (0x82F63B78 if is_set else 0)
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


def records(data: bytes) -> Iterator[bytes]:
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12]) == (checksum(data[:8]),)
        body, data = data[12 : 12 + size], data[12 + size :]
        assert struct.unpack("<I", data[:4]) == (checksum(body),)
        data = data[4:]
        yield body


def fields(data: bytes) -> list[tuple[int, Any]]:
    """The fields of a protobuf message by number: https://protobuf.dev/programming-guides/encoding."""
    found: list[tuple[int, Any]] = []
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(data):
        tag = varint()
        if tag & 7 == 0:
            found.append((tag >> 3, varint()))
            continue
        size = {1: 8, 5: 4}.get(tag & 7) or varint()
        found.append((tag >> 3, data[place : place + size]))
        place += size
    return found


def figures(summary: bytes) -> list[tuple[str, float]]:
    """tensorflow.Summary: repeated value = 1 of tag = 1 and simple_value = 2."""
    values = [dict(fields(value)) for number, value in fields(summary) if number == 1]
    return [(value[1].decode(), struct.unpack("<f", value[2])[0]) for value in values]


def test_figures_are_read_back(tmp_path: Path) -> None:
    file = events.EventFile(tmp_path, ATTEMPT, 5, 1_700_000_000.5)
    file.add(
        MetricPoint(
            epoch=5,
            step=50,
            time_s=1_700_000_001.25,
            loss=0.5,
            validation_loss=0.75,
            metrics={"accuracy": 1.0},
            learning_rate=0.125,
            rows_per_second=1024.0,
        )
    )
    file.add(MetricPoint(epoch=6, step=60, time_s=1_700_000_002, loss=0.25))
    file.close()

    (path,) = tmp_path.iterdir()
    # tensorflow.Event: wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7.
    version, start, first, second = (dict(fields(data)) for data in records(path.read_bytes()))
    begun = struct.pack("<d", 1_700_000_000.5)
    assert path.name == f"events.out.tfevents.1700000000.{ATTEMPT}"
    assert version == {1: begun, 3: b"brain.Event:2"}
    assert start == {1: begun, 2: 5, 7: b"\x08\x01"}  # status = 1: START
    assert (first[1], first[2]) == (struct.pack("<d", 1_700_000_001.25), 5)
    assert figures(first[5]) == [
        ("loss/training", 0.5),
        ("loss/validation", 0.75),
        ("metrics/accuracy", 1.0),
        ("learning_rate", 0.125),
        ("rows_per_second", 1024.0),
    ]
    assert (second[2], figures(second[5])) == (6, [("loss/training", 0.25)])


@pytest.mark.parametrize(
    ("data", "expected"),
    # RFC 3720, B.4, and the check value of the polynomial.
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (b"123456789", 0xE3069283)],
)
def test_the_checksum_is_the_standards(data: bytes, expected: int) -> None:
    assert events.crc32c(data) == expected
