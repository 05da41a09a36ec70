"""The reference transport: grpc.aio with generic handlers, registered by path.

By path, because other clients in one process may own the package name `inference` of protobuf.
"""

import logging
import math
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import grpc
import grpc.aio

from inferer.transport import Application, Call, PlainCall
from inferer.transport.tls import Tls
from twofold.config import UNIX
from twofold.errors import Internal, TwofoldError
from twofold.rpc import DETAILS_KEY, to_status
from twofold.seams import Clock

_log = logging.getLogger(__name__)
_METADATA_BYTES = 16 << 10
#: Calls in progress, streams and health watches among them; one more is RESOURCE_EXHAUSTED.
MAX_CONCURRENT_RPCS = 4096

#: Against slow, silent and flooding callers; each number has a reason.
_OPTIONS: Sequence[tuple[str, int]] = (
    # Load tools put many requests on one connection; a request waits in the batcher's bounded
    # queue, not here, so this bounds only what one connection may have open.
    ("grpc.max_concurrent_streams", 1024),
    ("grpc.max_allowed_incoming_connections", 512),
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Both: above the first a call may be refused, above the second it must be.
    ("grpc.max_metadata_size", _METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
    # An honest keep-alive of 10 s and more is welcome, also without calls; a ping flood is not.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 2),
    # Callers that balance their load by themselves come back to another server now and then.
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.max_connection_idle_ms", 10 * 60_000),
    # Answers grow with the request, which is bounded.
    ("grpc.max_send_message_length", -1),
    # Two servers must not share a port unnoticed.
    ("grpc.so_reuseport", 0),
)


class _Context(Protocol):
    """What this module uses of grpc.aio.ServicerContext, whose own stub leaves types open."""

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]] | None: ...

    def peer(self) -> str: ...

    def time_remaining(self) -> float | None: ...

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> None: ...


class GrpcioServer:
    """Serves an application through grpc.aio; a Server of the transport seam."""

    def __init__(
        self,
        application: Application,
        clock: Clock,
        max_message_bytes: int,
        tls: Tls | None = None,
    ) -> None:
        self._tls = tls
        self._application = application
        self._clock = clock
        self._max_message_bytes = max_message_bytes
        self._server: grpc.aio.Server | None = None

    async def start(self, address: str) -> str:
        """See Server."""
        options = [*_OPTIONS, ("grpc.max_receive_message_length", self._max_message_bytes)]
        server = grpc.aio.server(
            handlers=[_Handlers(self._application, self._clock)],
            options=options,
            maximum_concurrent_rpcs=MAX_CONCURRENT_RPCS,
        )
        try:
            if self._tls is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, _credentials(self._tls))
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: is it in use?") from error
        await server.start()
        self._server = server
        return address if address.startswith(UNIX) else f"{address.rpartition(':')[0]}:{port}"

    async def stop(self, grace_s: float) -> None:
        """See Server."""
        if self._server is not None:
            await self._server.stop(grace_s)
            self._server = None


class _Handlers(grpc.GenericRpcHandler):
    """Finds the handler of a path; None makes grpcio answer UNIMPLEMENTED."""

    def __init__(self, application: Application, clock: Clock) -> None:
        self._calls = _Calls(application, clock)
        self._application = application

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """See grpc.GenericRpcHandler."""
        path = handler_call_details.method
        kind = self._application.kind(path)
        if kind is None:
            return None
        calls = self._calls
        if kind == "unary":

            async def unary(message: bytes, context: _Context) -> bytes:
                return await calls.unary(path, message, context)

            return grpc.unary_unary_rpc_method_handler(unary)

        async def stream(messages: AsyncIterator[bytes], context: _Context) -> AsyncIterator[bytes]:
            async for answer in calls.stream(path, messages, context):
                yield answer

        return grpc.stream_stream_rpc_method_handler(stream)


class _Calls:
    """Hands calls to the application and turns its errors into statuses."""

    def __init__(self, application: Application, clock: Clock) -> None:
        self._application = application
        self._clock = clock

    async def unary(self, path: str, message: bytes, context: _Context) -> bytes:
        try:
            return await self._application.unary(self._call(path, context), message)
        except Exception as error:  # the top of an RPC
            await _abort(context, path, error)
            raise  # not reached: abort raises

    async def stream(
        self, path: str, messages: AsyncIterator[bytes], context: _Context
    ) -> AsyncIterator[bytes]:
        try:
            async for answer in self._application.stream(self._call(path, context), messages):
                yield answer
        except Exception as error:  # noqa: BLE001 - the top of an RPC
            await _abort(context, path, error)

    def _call(self, path: str, context: _Context) -> Call:
        left_s = context.time_remaining()
        deadline_s = math.inf if left_s is None else self._clock.monotonic_s() + left_s
        metadata = tuple((name, value) for name, value in context.invocation_metadata() or ())
        return PlainCall(path, metadata, context.peer(), deadline_s)


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
    if tls.client_ca is None:
        return grpc.ssl_server_credentials([pair])
    ca = tls.client_ca.read_bytes()
    return grpc.ssl_server_credentials([pair], ca, require_client_auth=True)


async def _abort(context: _Context, path: str, error: Exception) -> None:
    """Ends the call with the error's status; what is no TwofoldError is a defect, and logged."""
    if not isinstance(error, TwofoldError):
        _log.error("call failed", extra={"path": path}, exc_info=error)
        error = Internal()
    details = ((DETAILS_KEY, to_status(error).SerializeToString()),)
    await context.abort(grpc.StatusCode[error.code], error.message, details)
