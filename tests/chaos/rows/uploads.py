"""What the rows about uploads share: a proxy that cuts connections, and a corpus of bad files."""
# pyarrow ships no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
import io
import random
import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_STORED, ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.trainer.reading.files import PLAIN_HEADER, npy, npy_with, npz
from twofold.v1 import dataset_pb2

CSV = dataset_pb2.DATASET_FORMAT_CSV
PARQUET = dataset_pb2.DATASET_FORMAT_PARQUET
NPZ = dataset_pb2.DATASET_FORMAT_NPZ
NPY = dataset_pb2.DATASET_FORMAT_NPY
_PIECE_BYTES = 16 << 10
_PATIENCE_S = 1.0


@dataclass
class CuttingProxy:
    """Forwards TCP connections, and resets each once `next_cut` bytes went to the server."""

    target: str
    #: Bytes after which the next connection is cut; None: never.
    next_cut: Callable[[], int | None]
    #: Bytes of the file that the server has.
    has_come: Callable[[], int]
    on_cut: Callable[[], None] = lambda: None
    cuts: int = 0
    #: Bytes that went to the server, over all connections.
    forwarded: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.target.rpartition(":")
        back, forth = await asyncio.open_connection(host, int(port))
        both = (writer, forth)
        self._open.update(both)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, forth, self.next_cut()))
                group.create_task(self._forward(back, writer, None))
        except* (OSError, EOFError):
            pass
        finally:
            for one in both:
                self._open.discard(one)
                one.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
    ) -> None:
        """Ends by an exception, so that the other direction ends too."""
        came = self.has_come()
        while data := await reader.read(_PIECE_BYTES):
            part = data if left is None else data[:left]
            writer.write(part)
            await writer.drain()
            if left is not None:
                self.forwarded += len(part)
                left -= len(part)
                if not left:
                    await self._until_more_has_come(came)
                    self.cuts += 1
                    self.on_cut()
                    raise ConnectionResetError
        raise EOFError

    async def _until_more_has_come(self, before: int) -> None:
        """What the server's sockets hold is lost with the connection, on a busy machine all of it.

        Not for ever: less than one message may have been let through.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                while self.has_come() <= before:  # noqa: ASYNC110 - a file has no event
                    await asyncio.sleep(0.005)

    def abort(self) -> None:
        """Resets whatever is open."""
        for writer in list(self._open):
            writer.transport.abort()


@asynccontextmanager
async def cutting(
    target: str, next_cut: Callable[[], int | None], has_come: Callable[[], int]
) -> AsyncGenerator[tuple[CuttingProxy, str]]:
    """A proxy in front of `target`, and its HOST:PORT."""
    proxy = CuttingProxy(target, next_cut, has_come)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield proxy, f"{host}:{port}"
    finally:
        server.close()
        proxy.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await server.wait_closed()


@dataclass(frozen=True)
class BadFile:
    """A file that must be refused, and where it is bad, if it is bad at one place."""

    name: str
    format: dataset_pb2.DatasetFormat
    content: bytes
    row: int | None = None
    column: str | None = None


def corpus() -> list[BadFile]:
    """Every kind of malformed file that we know of."""
    return [*_csv_files(), *_parquet_files(), *_npy_files(), *_npz_files()]


def _csv_files() -> Iterator[BadFile]:
    def bad(
        name: str, text: str | bytes, row: int | None = None, column: str | None = None
    ) -> BadFile:
        return BadFile(name, CSV, text if isinstance(text, bytes) else text.encode(), row, column)

    head = "a,label\n"
    yield bad("header alone", head)
    yield bad("newlines alone", "\n\n\n")
    yield bad("a row too short", head + "1,0\n2\n", 2)
    yield bad("a row too long", head + "1,0\n2,1,3\n", 2)
    yield bad("a cell without value", head + "1,0\n,1\n", 2, "a")
    yield bad("not a number", head + "1,0\nNaN,1\n2,1\n", 2, "a")
    yield bad("infinity", head + "inf,0\n", 1, "a")
    yield bad("beyond 32 bits", head + "1,0\n2,0\n1e308,1\n", 3, "a")
    yield bad("an endless number", head + "9" * 400 + ",1\n", 1, "a")
    yield bad("a NUL", head + "1,0\n2,\0\n", 2)
    yield bad("UTF-16", (head + "1,0\n").encode("utf-16"))
    yield bad("not UTF-8", b"a,label\n1,0\n\xff\xfe,1\n", 2)
    yield bad("half a character", b"a,label\n1,\xc3", 1)
    yield bad("header not UTF-8", b"\xff\xfe,label\n1,0\n")
    yield bad("an open quote", head + '1,0\n"2,1\n', 2)
    yield bad("an open quote in the header", '"a,label\n1,0\n')
    yield bad("a column twice", "a,a\n1,0\n", None, "a")
    yield bad("a column without name", "a,\n1,0\n", None, "2")
    yield bad("a column named by blanks", "a, \n1,0\n", None, "2")
    yield bad("a control character in a name", "a,l\x1b[31m\n1,0\n", None, "2")
    yield bad("a name too long", "a," + "x" * 256 + "\n1,0\n", None, "2")
    yield bad("too many columns", ",".join(f"c{n}" for n in range(4_097)) + "\n")
    yield bad("a line too long", head + "1," + "x" * (1 << 20) + "\n", 1)
    yield bad("text of binary bytes", bytes(range(256)) * 8)
    yield bad("a Parquet file", parquet({"a": [1], "label": [0]}))


def parquet(columns: Any) -> bytes:  # noqa: ANN401 - Arrow's table, or columns by name
    """A Parquet file."""
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def _parquet_files() -> Iterator[BadFile]:
    def bad(
        name: str, content: bytes, row: int | None = None, column: str | None = None
    ) -> BadFile:
        return BadFile(name, PARQUET, content, row, column)

    good = parquet({"a": [1.0, 2.0], "label": ["x", "y"]})
    yield bad("magic alone", b"PAR1")
    yield bad("magic twice", b"PAR1PAR1")
    yield bad("cut in half", good[: len(good) // 2])
    yield bad("without its end", good[:-1])
    yield bad("without its beginning", good[1:])
    yield bad("a footer longer than the file", good[:-8] + struct.pack("<I", 1 << 30) + b"PAR1")
    yield bad("a footer of nothing", good[:-8] + struct.pack("<I", 0) + b"PAR1")
    yield bad("a footer of zeros", good[:4] + bytes(len(good) - 12) + good[-8:])
    yield bad("no rows", parquet({"a": pa.array([], pa.float64())}))
    yield bad("no columns", parquet(pa.table({})))
    yield bad("a null", parquet({"a": [1.0, None], "label": [0, 1]}), 2, "a")
    yield bad("a null text", parquet({"a": [1.0, 2.0], "label": ["x", None]}), 2, "label")
    yield bad("an empty text", parquet({"a": [1.0], "label": [""]}), 1, "label")
    yield bad("not a number", parquet({"a": [1.0, float("nan")]}), 2, "a")
    yield bad("infinity", parquet({"a": [float("-inf")]}), 1, "a")
    yield bad("beyond 32 bits", parquet({"a": [1.0, 1.0, 1e300]}), 3, "a")
    yield bad("beyond 63 bits", parquet({"a": pa.array([1, 1 << 63], pa.uint64())}), 2, "a")
    yield bad("a list", parquet({"a": [[1.0], [2.0]]}), None, "a")
    yield bad("a struct", parquet({"a": [{"b": 1}]}), None, "a")
    yield bad("a time", parquet({"a": pa.array([1], pa.timestamp("s"))}), None, "a")
    yield bad("bytes", parquet({"a": pa.array([b"x"])}), None, "a")
    yield bad("only nulls", parquet({"a": pa.nulls(2)}), None, "a")
    yield bad("a decimal", parquet({"a": pa.array([1], pa.decimal128(5, 2))}), None, "a")
    yield bad(
        "a column twice", parquet(pa.Table.from_arrays([[1], [2]], names=["a", "a"])), None, "a"
    )


def _npy_files() -> Iterator[BadFile]:
    def bad(
        name: str, content: bytes, row: int | None = None, column: str | None = None
    ) -> BadFile:
        return BadFile(name, NPY, content, row, column)

    good = npy(np.zeros((2, 2)))
    yield bad("magic alone", good[:6])
    yield bad("cut short", good[:-1])
    yield bad("a byte too many", good + b"\0")
    yield bad(
        "a header that claims much", npy_with(PLAIN_HEADER.replace("(2, 2)", "(65536, 65536)"))
    )
    yield bad("a header that is code", npy_with("__import__('os').system('true')"))
    yield bad("a header 4 GiB long", b"\x93NUMPY\2\0" + b"\xff" * 4 + b"x")
    yield bad("an unknown format", b"\x93NUMPY\x09\0" + good[8:])
    yield bad("objects", npy(np.array([[1, "a"]], dtype=object)))
    yield bad("a structure", npy(np.zeros((2,), dtype=[("a", "<f8")])))
    yield bad("times", npy(np.zeros((2, 2), dtype="M8[s]")))
    yield bad("complex numbers", npy(np.zeros((2, 2), dtype=np.complex64)))
    yield bad("one dimension", npy(np.zeros(4)))
    yield bad("three dimensions", npy(np.zeros((2, 2, 2))))
    yield bad("no rows", npy(np.zeros((0, 2))))
    yield bad("not a number", npy(np.array([[1.0, 2.0], [np.nan, 1.0]])), 2, "x0")
    yield bad("infinity", npy(np.array([[1.0, np.inf]])), 1, "y")


def _npz_files() -> Iterator[BadFile]:
    def bad(
        name: str, content: bytes, row: int | None = None, column: str | None = None
    ) -> BadFile:
        return BadFile(name, NPZ, content, row, column)

    x, y = npy(np.zeros((2, 2))), npy(np.zeros(2))
    good = npz({"x.npy": x, "y.npy": y})
    yield bad("no archive", b"PK\3\4 nothing")
    yield bad("an empty archive", npz({}))
    yield bad("cut short", good[:-1])
    yield bad("cut in half", good[: len(good) // 2])
    yield bad("without x", npz({"y.npy": y}))
    yield bad("another member", npz({"x.npy": x, "../../etc/passwd": b"x"}))
    yield bad("a column of a name twice", npz({"x.npy": x, "x0.npy": y}), None, "x0")
    yield bad("members too many", npz({f"a{number}.npy": y for number in range(65)}))
    yield bad("an array too short", npz({"a.npy": x, "b.npy": npy(np.zeros((3, 2)))}), None, "b")
    yield bad("a hole in an image", npz({"a.npy": npy([[[1.0]], [[np.nan]]])}), 2, "a")
    yield bad("x twice", _twice(x))
    yield bad("y too short", npz({"x.npy": x, "y.npy": npy(np.zeros(1))}), None, "y")
    yield bad("objects", npz({"x.npy": x, "y.npy": npy(np.array([{}, {}], dtype=object))}))
    yield bad("another compression", npz({"x.npy": x, "y.npy": y}, ZIP_BZIP2))
    yield bad("a bomb", npz({"x.npy": npy(np.zeros((20_000_000, 1)))}))
    yield bad("text in x", npz({"x.npy": npy(np.array([["a"]]))}))
    yield bad("an empty text", npz({"x.npy": x, "y.npy": npy(np.array(["a", ""]))}), 2, "y")
    yield bad("not a number", npz({"x.npy": npy(np.array([[1.0], [np.nan]]))}), 2, "x0")


def _twice(member: bytes) -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_STORED) as archive:
        archive.writestr("x.npy", member)
        archive.writestr("y.npy", member)
    return file.getvalue().replace(b"y.npy", b"x.npy")


def seeds() -> dict[dataset_pb2.DatasetFormat, bytes]:
    """A good file of each format, to be mutated."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(20, 3))
    lines = [f"{a},{b},{c},{'xy'[row % 2]}" for row, (a, b, c) in enumerate(x)]
    return {
        CSV: ("a,b,c,label\n" + "\n".join(lines) + "\n").encode(),
        PARQUET: parquet({"a": x[:, 0], "label": ["x", "y"] * 10}),
        NPY: npy(x),
        NPZ: npz(
            {
                "x.npy": npy(x),
                "image.npy": npy(np.arange(160, dtype=np.uint8).reshape(20, 2, 4)),
                "y.npy": npy(np.arange(20) % 2),
            }
        ),
    }


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A few bytes flipped, cut out, doubled or put in."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) or 1)
        length = chance.randint(1, 16)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length]
            case 3:
                data[at:at] = chance.randbytes(length)
            case _:
                del data[at + 1 :]
    return bytes(data) or b"\0"
