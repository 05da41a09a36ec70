"""The transports under test; each serves an application on a free port of this machine."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, cast

from inferer.health import Health
from inferer.models import Models, Served
from inferer.reflection import Reflection
from inferer.service import InferenceService
from inferer.transport import Application, Server
from inferer.transport.grpcio import GrpcioServer
from inferer.transport.native.server import NativeServer
from inferer.transport.tls import Tls
from inferer.versions import Stored
from tests.inferer.conformance.application import FakeApplication
from tests.inferer.fakes import FakeClock, FakeProgram, served
from twofold.principal import LOCAL
from twofold.seams import Clock, SystemClock
from twofold.versions import VersionState

NAMES = ("grpcio", "native")
ANY_PORT = "127.0.0.1:0"
#: Above one initial window (64 KiB), so that uploads need flow control.
MAX_MESSAGE_BYTES = 256 << 10


class Running(NamedTuple):
    """A transport that serves an application of the tests."""

    name: str
    server: Server
    address: str
    application: FakeApplication

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


class Inferring(NamedTuple):
    """A transport that serves the inference service over versions 1 and 2 of model m."""

    name: str
    server: Server
    address: str
    health: Health


def make(
    name: str, application: Application, clock: Clock | None = None, tls: Tls | None = None
) -> Server:
    """The transport of that name, not started."""
    kind = GrpcioServer if name == "grpcio" else NativeServer
    return kind(application, clock or SystemClock(), MAX_MESSAGE_BYTES, tls)


@contextlib.asynccontextmanager
async def serving(
    name: str, clock: Clock | None = None, tls: Tls | None = None, address: str = ANY_PORT
) -> AsyncGenerator[Running]:
    """A server with an application of its own; stopped at the end without grace."""
    application = FakeApplication()
    server = make(name, application, clock, tls)
    address = await server.start(address)
    try:
        yield Running(name, server, address, application)
    finally:
        application.release.set()
        await server.stop(0)


@contextlib.asynccontextmanager
async def inferring(
    name: str, tls: Tls | None = None, *, reflects: bool = False
) -> AsyncGenerator[Inferring]:
    """The real service; its model doubles x."""
    clock, health = SystemClock(), Health()
    with ThreadPoolExecutor(1) as thread:

        async def load(model: str, number: int) -> Served:
            return served(model, number, cast("FakeClock", clock), FakeProgram(), thread)

        async def missed(model: str) -> bool:
            del model
            return False

        models = Models(load, clock)
        tenants: Mapping[str, Models] = {LOCAL.tenant: models}
        reflection = Reflection() if reflects else None
        service = InferenceService(tenants, missed, health, reflection)
        loading = asyncio.create_task(models.run())
        versions = (VersionState(1, withdrawn=False), VersionState(2, withdrawn=False))
        models.update({"m": Stored(versions, {"old": 1})})
        await asyncio.wait_for(models.settled.wait(), 5)
        health.set_serving(is_serving=True)
        server = make(name, service, clock, tls)
        address = await server.start(ANY_PORT)
        try:
            yield Inferring(name, server, address, health)
        finally:
            health.close()
            await server.stop(0)
            loading.cancel()
