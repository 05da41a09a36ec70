"""The gRPC server of the trainer's API: its limits, its services, its drain."""

import asyncio
from dataclasses import dataclass

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from trainer.api.datasets import CheckFile, DatasetApi
from trainer.api.desk import Desk
from trainer.api.edge import Edge
from trainer.api.graphs import MeasureGraph
from trainer.api.health import Health
from trainer.api.models import ModelApi
from trainer.api.training import TrainingApi
from trainer.metrics import Metrics
from twofold.config import TrainerSettings, split_address
from twofold.spec import Bounds
from twofold.v1 import dataset_pb2, model_pb2, training_pb2

#: Calls in progress at most; further ones are answered RESOURCE_EXHAUSTED at once.
MAX_CONCURRENT_RPCS = 1_000
_MIB = 1 << 20
_MINUTE_MS = 60_000

#: Limits that keep one client from taking the server from the others. Times in milliseconds.
OPTIONS: tuple[tuple[str, int], ...] = (
    # A chunk of an upload is 1 MiB at most, a spec a few KiB.
    ("grpc.max_receive_message_length", 4 * _MIB),
    ("grpc.max_send_message_length", 64 * _MIB),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.absolute_max_metadata_size", 16 << 10),
    ("grpc.max_concurrent_streams", 128),
    ("grpc.max_allowed_incoming_connections", 512),
    # Silent connections are closed after 5 s, not after 2 minutes.
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Honest keepalives of 30 s are fine (the default floor is 5 minutes), floods are not.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.keepalive_permit_without_calls", 1),
    # Ages connections so that clients find new replicas.
    ("grpc.max_connection_age_ms", 30 * _MINUTE_MS),
    ("grpc.max_connection_age_grace_ms", _MINUTE_MS),
    ("grpc.max_connection_idle_ms", 10 * _MINUTE_MS),
    # A second server on this port is a mistake that must be seen.
    ("grpc.so_reuseport", 0),
)
#: Seconds between saying NOT_SERVING and refusing calls: balancers must have seen it.
_NOTICE_S = 1.0


@dataclass(frozen=True, slots=True)
class Checks:
    """What looks at what users send, each in a limited process."""

    file: CheckFile
    graph: MeasureGraph


class CannotBind(Exception):
    """The address is taken or not this machine's; the message names it."""


class ApiServer:
    """The three services and grpc.health.v1 on one port. Made and used on one event loop."""

    def __init__(
        self, desk: Desk, settings: TrainerSettings, metrics: Metrics, checks: Checks
    ) -> None:
        self._desk = desk
        self._settings = settings
        self._edge = Edge(metrics)
        self._checks = checks
        self._health = Health()
        self._server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=MAX_CONCURRENT_RPCS)

    async def start(self) -> str:
        """Listens, still NOT_SERVING; HOST:PORT with the real port. Raises CannotBind."""
        settings = self._settings
        bounds = Bounds(
            max_parameters=settings.max_parameters, max_memory_bytes=settings.max_memory_bytes
        )
        training = TrainingApi(self._desk, bounds, settings.max_watch_streams, self._checks.graph)
        datasets = DatasetApi(self._desk, self._checks.file, settings.max_upload_bytes)
        self._add(training_pb2.DESCRIPTOR.services_by_name["TrainingService"], training)
        self._add(dataset_pb2.DESCRIPTOR.services_by_name["DatasetService"], datasets)
        self._add(model_pb2.DESCRIPTOR.services_by_name["ModelService"], ModelApi(self._desk))
        await self._health.add_to(self._server)
        address = self._bind()
        await self._server.start()
        return address

    def _add(self, service: ServiceDescriptor, implementation: object) -> None:
        self._server.add_generic_rpc_handlers((self._edge.handlers(service, implementation),))

    def _bind(self) -> str:
        wanted = self._settings.train_address
        host, _ = split_address(wanted)
        try:
            port = self._server.add_insecure_port(wanted)
        except RuntimeError as error:
            raise CannotBind(
                f"TWOFOLD_TRAIN_ADDRESS is {wanted!r}: it cannot be listened on; is it in use?"
            ) from error
        return f"{host}:{port}"

    async def serve(self) -> None:
        """Says SERVING: what the handlers need is in reach."""
        await self._health.serve()

    async def drain(self, within_s: float) -> None:
        """Says NOT_SERVING, ends streams, lets calls finish, closes."""
        await self._health.drain()
        notice_s = min(_NOTICE_S, within_s / 4)
        await asyncio.sleep(notice_s)
        self._desk.draining.set()
        await self._server.stop(within_s - notice_s)
