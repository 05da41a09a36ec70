"""TensorBoard's event files: figures that `tensorboard --logdir` shows.

A file is a sequence of records: length (8 bytes, little-endian), masked CRC-32C of the length,
data, masked CRC-32C of the data. Source: tensorflow/core/lib/io/record_writer.h; the messages are
those of twofold/internal/v1/event.proto.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from twofold.internal.v1 import event_pb2
from twofold.series import MetricPoint

#: What readers know the format by.
FILE_VERSION = "brain.Event:2"
#: Castagnoli's polynomial, bits reversed.
_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
_WORD = 0xFFFFFFFF


def _table() -> Iterator[int]:
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        yield value


_TABLE = tuple(_table())


def crc32c(data: bytes) -> int:
    """CRC-32C (RFC 3720, appendix B.4) of some bytes; about 20 MB/s, and records are short."""
    value = _WORD
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ _WORD


def record(data: bytes) -> bytes:
    """`data` as a record of the file."""
    length = _LENGTH.pack(len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    # A checksum of data that hold checksums would not tell much: so it is rotated and shifted.
    value = crc32c(data)
    return _CHECKSUM.pack(((value >> 15 | value << 17) + _MASK_DELTA) & _WORD)


class EventFile:
    """The events of one attempt. Owned by the thread that trains.

    All attempts of a job share a folder. Each file begins with a mark by which readers drop what
    earlier attempts have from its first epoch on. Points that a series loses later as its stride
    doubles stay; at most half of its limit are added per doubling.
    """

    def __init__(self, folder: Path, attempt: str, first_epoch: int, time_s: float) -> None:
        """Begins a file; readers take those of a folder by name. Raises OSError."""
        self._file = (folder / f"events.out.tfevents.{int(time_s):010d}.{attempt}").open("ab")
        self._write(event_pb2.Event(wall_time=time_s, file_version=FILE_VERSION))
        mark = event_pb2.SessionLog(status=event_pb2.SessionLog.STATUS_START)
        self._write(event_pb2.Event(wall_time=time_s, step=first_epoch, session_log=mark))

    def add(self, point: MetricPoint) -> None:
        """Takes the figures of an epoch."""
        event = event_pb2.Event(wall_time=point.time_s, step=point.epoch)
        for tag, value in _figures(point):
            event.summary.value.add(tag=tag, simple_value=value)
        self._write(event)

    def flush(self) -> None:
        """Hands all to the operating system. Raises OSError."""
        self._file.flush()

    def close(self) -> None:
        """Ends the file. Raises OSError."""
        self._file.close()

    def _write(self, event: event_pb2.Event) -> None:
        self._file.write(record(event.SerializeToString()))


def _figures(point: MetricPoint) -> Iterator[tuple[str, float]]:
    yield "loss/training", point.loss
    if point.validation_loss is not None:
        yield "loss/validation", point.validation_loss
    for name, value in point.metrics.items():
        yield f"metrics/{name}", value
    if point.learning_rate is not None:
        yield "learning_rate", point.learning_rate
    if point.rows_per_second is not None:
        yield "rows_per_second", point.rows_per_second
