"""The edge of every call: who asks, what failed, how long it took. No handler stands outside it.

Handlers are plain methods named after their RPCs that take (request, principal) and answer or
raise; this module makes them what grpc.aio serves.
"""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from trainer.metrics import Metrics
from twofold import errors, rpc
from twofold.principal import LOCAL, Principal

logger = logging.getLogger(__name__)

# grpcio's own types of a context and of a handler depend on the message types of one RPC; this
# module treats all alike.
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Authenticate: TypeAlias = Callable[[grpc.aio.Metadata | None], Principal]
_M = TypeVar("_M", bound=Message)


def always_local(_metadata: grpc.aio.Metadata | None) -> Principal:
    """The principal until tokens exist."""
    return LOCAL


def as_twofold_error(error: Exception) -> errors.TwofoldError:
    """What a caller is told of `error`; anything unforeseen is Internal without its text."""
    return error if isinstance(error, errors.TwofoldError) else errors.Internal()


class Edge:
    """Wraps handlers: authentication, errors as google.rpc.Status, metrics."""

    def __init__(self, metrics: Metrics, authenticate: Authenticate = always_local) -> None:
        self._metrics = metrics
        self._authenticate = authenticate

    def handlers(
        self, service: ServiceDescriptor, implementation: object
    ) -> grpc.GenericRpcHandler:
        """Every RPC of `service`, answered by the method of its name of `implementation`."""
        return grpc.method_handlers_generic_handler(
            service.full_name,
            {
                # The name is our own descriptor's, never a caller's.
                method.name: self._wrap(method, getattr(implementation, method.name))
                for method in service.methods
            },
        )

    def _wrap(self, method: MethodDescriptor, call: Callable[..., Any]) -> Handler:
        """Requests stay bytes until inside the edge, so that junk is answered like any error."""
        request_class = GetMessageClass(method.input_type)
        encode = GetMessageClass(method.output_type).SerializeToString
        if method.server_streaming:
            streaming = self._streaming(method.name, request_class, call)
            return grpc.unary_stream_rpc_method_handler(streaming, None, encode)
        if method.client_streaming:
            receiving = self._receiving(method.name, request_class, call)
            return grpc.stream_unary_rpc_method_handler(receiving, None, encode)
        return grpc.unary_unary_rpc_method_handler(
            self._answering(method.name, request_class, call), None, encode
        )

    def _answering(
        self,
        method: str,
        request_class: type[_M],
        call: Callable[[_M, Principal], Awaitable[Message]],
    ) -> Callable[[bytes, Context], Awaitable[Message]]:
        async def answer(request: bytes, context: Context) -> Message:
            async with self._guarded(method, context) as principal:
                return await call(_parse(request_class, request), principal)

        return answer

    def _streaming(
        self,
        method: str,
        request_class: type[_M],
        call: Callable[[_M, Principal], Any],
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        async def stream(request: bytes, context: Context) -> None:
            async with (
                self._guarded(method, context) as principal,
                # Closed here and now when the caller goes away, not when it is collected.
                aclosing(call(_parse(request_class, request), principal)) as responses,
            ):
                async for response in responses:
                    await context.write(response)

        return stream

    def _receiving(
        self,
        method: str,
        request_class: type[_M],
        call: Callable[[AsyncIterator[_M], Principal], Awaitable[Message]],
    ) -> Callable[[AsyncIterator[bytes], Context], Awaitable[Message]]:
        async def receive(requests: AsyncIterator[bytes], context: Context) -> Message:
            async with (
                self._guarded(method, context) as principal,
                aclosing(_parse_each(request_class, requests)) as parsed,
            ):
                return await call(parsed, principal)

        return receive

    @asynccontextmanager
    async def _guarded(self, method: str, context: Context) -> AsyncGenerator[Principal]:
        begun_s = time.monotonic()
        code = "CANCELLED"  # unless one of the branches below is reached
        try:
            yield self._authenticate(context.invocation_metadata())
            code = "OK"
        except Exception as error:  # the top of an RPC: nothing may leak out
            told = as_twofold_error(error)
            if isinstance(told, errors.Internal):
                logger.exception("call failed", extra={"method": method})
            code = told.code
            await _abort(context, told)
        finally:
            self._metrics.rpcs.labels(method, code).inc()
            self._metrics.rpc_duration.labels(method, code).observe(time.monotonic() - begun_s)


def _parse(request_class: type[_M], data: bytes) -> _M:
    try:
        return request_class.FromString(data)
    except DecodeError as error:
        kind = request_class.DESCRIPTOR.full_name
        raise errors.InvalidField.of("request", f"{len(data)} bytes", f"a {kind}") from error


async def _parse_each(
    request_class: type[_M], requests: AsyncIterator[bytes]
) -> AsyncGenerator[_M]:
    async for request in requests:
        yield _parse(request_class, request)


async def _abort(context: Context, error: errors.TwofoldError) -> None:
    status = rpc.to_status(error)
    details = ((rpc.DETAILS_KEY, status.SerializeToString()),)
    await context.abort(grpc.StatusCode[error.code], error.message, details)
