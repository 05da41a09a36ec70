"""grpc.health.v1: whether inference is accepted, for load balancers and probes."""

import asyncio
from collections.abc import AsyncGenerator

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from twofold.errors import InvalidField, NotFound

SERVICE = "/grpc.health.v1.Health/"
#: What may be asked for: the whole server, or inference by its name.
_NAMES = frozenset({"", "inference.GRPCInferenceService"})
Status = health_pb2.HealthCheckResponse.ServingStatus


class Health:
    """One status for everything served; starts as NOT_SERVING, ends as that for good."""

    def __init__(self) -> None:
        self.is_serving = False
        #: Set at the end of draining: what would go on for ever ends now.
        self.closed = asyncio.Event()
        # Replaced by a new one at every change; watchers hold the old one.
        self._changed = asyncio.Event()

    def set_serving(self, *, is_serving: bool) -> None:
        """Tells checks and watchers."""
        self.is_serving = is_serving
        self._announce()

    def close(self) -> None:
        """Ends every watch after its last status, and every stream."""
        self.closed.set()
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def check(self, message: bytes) -> bytes:
        """Health/Check; raises NotFound for another service's name."""
        name = _parse(message)
        if name not in _NAMES:
            raise NotFound("no such service; ask for '' or inference.GRPCInferenceService")
        return _answer(self._status())

    async def watch(self, message: bytes) -> AsyncGenerator[bytes]:
        """Health/Watch: the status now and after each change."""
        is_known = _parse(message) in _NAMES
        last = None
        while True:
            changed = self._changed
            status = self._status() if is_known else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != last:
                yield _answer(status)
                last = status
            if self.closed.is_set():
                return
            if changed is self._changed:
                await changed.wait()

    def _status(self) -> Status:
        if self.is_serving:
            return health_pb2.HealthCheckResponse.SERVING
        return health_pb2.HealthCheckResponse.NOT_SERVING


def _parse(message: bytes) -> str:
    try:
        return health_pb2.HealthCheckRequest.FromString(message).service
    except DecodeError as error:
        raise InvalidField("the message is not a HealthCheckRequest") from error


def _answer(status: Status) -> bytes:
    return health_pb2.HealthCheckResponse(status=status).SerializeToString()
