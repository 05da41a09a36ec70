"""Errors on the wire: TwofoldError to google.rpc.Status and back.

Source: google.rpc.Status in the trailer `grpc-status-details-bin` (AIP-193), with exactly one
ErrorInfo whose reason is a value of twofold.v1.ErrorReason without its prefix.
"""

import grpc
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from twofold import errors
from twofold.v1 import errors_pb2

DOMAIN = "twofold"
DETAILS_KEY = "grpc-status-details-bin"
_PREFIX = "ERROR_REASON_"
#: One class per reason: those right under the root. What other modules derive from them means the
#: same on the wire, whether or not it is imported here.
_CLASSES = (errors.TwofoldError, *errors.TwofoldError.__subclasses__())
_BY_REASON = {reason_class.reason: reason_class for reason_class in _CLASSES}
_REASON_CLASSES = {
    errors_pb2.ErrorReason.Name(number).removeprefix(_PREFIX): found
    for number, found in _BY_REASON.items()
}


def reason_name(error: errors.TwofoldError) -> str:
    """The reason without its prefix, for example "NOT_FOUND"."""
    return errors_pb2.ErrorReason.Name(error.reason).removeprefix(_PREFIX)


def to_status(error: errors.TwofoldError) -> status_pb2.Status:
    """The error as a Status with one ErrorInfo, and RetryInfo or BadRequest where they say more."""
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code), message=error.message)
    info = error_details_pb2.ErrorInfo(reason=reason_name(error), domain=DOMAIN)
    info.metadata.update(error.fields)
    status.details.add().Pack(info)
    if isinstance(error, errors.QueueFull):
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after_s * 1000))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    field = error.fields.get("field") or error.fields.get("input")
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=field, description=error.message
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    return status


def from_status(status: status_pb2.Status) -> errors.TwofoldError:
    """The error that `to_status` was given; an unknown reason is taken by its code alone."""
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            return _restore(_class_of(info.reason), status.message, dict(info.metadata))
    return from_code(code_pb2.Code.Name(status.code), status.message)


def from_code(code: str, message: str) -> errors.TwofoldError:
    """An error by its gRPC code's name alone, as other servers and the transport send it."""
    for found in _BY_REASON.values():
        if found.code == code and found is not errors.TwofoldError:
            return _restore(found, message, {})
    return _restore(errors.TwofoldError, f"{code}: {message}", {})


def from_rpc_error(error: grpc.RpcError | grpc.aio.AioRpcError) -> errors.TwofoldError:
    """The error behind a failed call of grpcio, sync or asyncio."""
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return errors.TwofoldError(str(error))
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            return from_status(status_pb2.Status.FromString(value))
    return from_code(error.code().name, error.details() or "")


def _class_of(reason: str) -> type[errors.TwofoldError]:
    return _REASON_CLASSES.get(reason, errors.TwofoldError)


def _restore(
    found: type[errors.TwofoldError], message: str, fields: dict[str, str]
) -> errors.TwofoldError:
    error = found(message)
    error.fields = fields
    return error
