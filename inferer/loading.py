"""From the store to a program: read once, verify, load those very bytes, replay, warm up."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Protocol

from inferer.batcher import Limits
from inferer.convert import MESSAGE_BYTES, Signature, signature_of
from inferer.holdings import Served
from inferer.lane import Lane, Program, Turns
from inferer.memory import Measured, size_of
from inferer.refusals import Refused
from twofold import keys
from twofold.artifact import FILES, GOLDEN
from twofold.errors import Corrupt, TwofoldError, Unavailable
from twofold.faults import fault
from twofold.golden import Golden, tolerance_for
from twofold.manifest import LIMIT_BYTES, decode, sha256_hex, verify_files
from twofold.seams import Clock
from twofold.signature import row_bytes
from twofold.v1 import model_pb2

#: Bytes of rows that wait for one version, or one request where that is larger.
QUEUE_BYTES = 1 << 30


class Network(Program, Protocol):
    """A program that was just built. It may serve once it was replayed and is warm."""

    def replay(self, examples: Golden, tolerance: model_pb2.Tolerance) -> None:
        """Raises Corrupt unless the golden examples give the expected answers."""
        ...

    def warm_up(self, examples: Golden) -> None:
        """Runs the usual batch sizes until they are warm, and measures them."""
        ...


class Shelf(Protocol):
    """Where versions are read from: a Store, or what stands for one."""

    def read(self, key: str, limit_bytes: int = 64 << 20) -> bytes | None:
        """See Store."""
        ...


class Engine(Protocol):
    """Builds programs and has the threads that run them; see inferer.engine."""

    #: Loads run here.
    loader: Executor
    #: Batches run here that are too long for the event loop.
    slow: Turns
    #: "cpu" or "cuda": which tolerance counts.
    device_type: str

    def load(self, manifest: model_pb2.Manifest, files: Mapping[str, bytes]) -> Network:
        """A version's network; raises Corrupt where the files are none."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version ready to serve."""

    manifest: model_pb2.Manifest
    manifest_sha256: str
    signature: Signature
    program: Program


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads versions of one store into one engine."""

    store: Shelf
    engine: Engine
    #: Of any model; see `load_lane`.
    max_batch_size: int
    max_message_bytes: int = MESSAGE_BYTES
    #: Whether the versions' answers have parameters; see told.
    tells: bool = True

    def measure(self, tenant: str, model: str, number: int) -> Measured:
        """What the version would take in memory, by its manifest. Raises as `load` does."""
        data, digest = self._manifest(tenant, model, number)
        try:
            return Measured(size_of(decode(data)), digest)
        except TwofoldError as error:
            raise Refused(error.message, digest) from error

    def load(self, tenant: str, model: str, number: int) -> Loaded:
        """The version, verified, replayed and warm. For the loader's thread.

        Raises:
            Refused: it is corrupt or answers wrongly; trying again is useless.
            Unavailable: the store cannot be read now; try again later.
        """
        data, digest = self._manifest(tenant, model, number)
        try:
            return self._load(tenant, (model, number), data, digest)
        except Unavailable:
            raise
        except TwofoldError as error:
            raise Refused(error.message, digest) from error
        except Exception as error:  # the top of what the loader's thread runs
            raise Refused("it could not be loaded", digest) from error

    def _manifest(self, tenant: str, model: str, number: int) -> tuple[bytes, str]:
        """Its bytes and their digest."""
        data = self.store.read(keys.version_manifest(tenant, model, number), LIMIT_BYTES)
        if data is None:
            raise Unavailable(f"models/{model}/versions/{number} has no manifest")
        return data, sha256_hex(data)

    def _load(self, tenant: str, version: tuple[str, int], data: bytes, digest: str) -> Loaded:
        manifest = decode(data)
        if (manifest.model, manifest.version) != version:
            raise Corrupt("the manifest is another version's")
        files = self._read(tenant, manifest)
        fault("inferer.read")
        verify_files(manifest, files)
        signature = signature_of(manifest, self.max_batch_size, self.max_message_bytes)
        program = self.engine.load(manifest, files)
        examples = Golden.parse(files[GOLDEN], signature)
        program.replay(examples, tolerance_for(manifest, self.engine.device_type))
        program.warm_up(examples)
        fault("inferer.warm")
        return Loaded(manifest, digest, signature, program)

    def _read(self, tenant: str, manifest: model_pb2.Manifest) -> Mapping[str, bytes]:
        folder = keys.version(tenant, manifest.model, manifest.version)
        sizes = {file.name: file.size_bytes for file in manifest.files}
        if missing := [name for name in FILES if name not in sizes]:
            raise Corrupt(f"the manifest does not list {missing[0]}", resource=missing[0])
        # A file larger than its manifest says is refused before it is read.
        found = {name: self.store.read(f"{folder}/{name}", size) for name, size in sizes.items()}
        return {name: content for name, content in found.items() if content is not None}


def narrow(limits: Limits, signature: Signature) -> Limits:
    """The limits of one version's lane: what waits has a bound in bytes, too."""
    largest = min(limits.max_batch_size, signature.max_batch_size)
    rows = QUEUE_BYTES // max(row_bytes(signature.inputs.values()), 1)
    most = max(rows // len(limits.policies), largest)
    return replace(
        limits,
        max_batch_size=largest,
        max_queue_size=min(limits.max_queue_size, most),
        preferred_batch_size=tuple(size for size in limits.preferred_batch_size if size <= largest),
        queues=tuple(
            replace(policy, max_queue_size=min(policy.max_queue_size, most))
            for policy in limits.queues
        ),
    )


async def measure(loader: Loader, tenant: str, model: str, number: int) -> Measured:
    """Measures on the loader's thread."""
    loop = asyncio.get_running_loop()
    work = loader.measure
    return await loop.run_in_executor(loader.engine.loader, work, tenant, model, number)


async def load_lane(
    loader: Loader,
    tenant: str,
    limits_of: Callable[[str], Limits],
    clock: Clock,
    model: str,
    number: int,
) -> Served:
    """Loads on the loader's thread; the lane is made where it will live, on the loop."""
    engine = loader.engine
    loop = asyncio.get_running_loop()
    loaded = await loop.run_in_executor(engine.loader, loader.load, tenant, model, number)
    limits = narrow(limits_of(model), loaded.signature)
    signature = replace(loaded.signature, max_batch_size=limits.max_batch_size)
    lane = Lane(signature.resource, loaded.program, limits, engine.slow, clock)
    return Served(loaded.manifest, loaded.manifest_sha256, signature, lane, loader.tells)
