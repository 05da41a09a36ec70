"""Every error a caller can meet: one tree, each class with its gRPC code and its reason.

The message says what was wrong, the value, what is allowed and what to do. Whatever varies in the
message also stands in `fields`, for programs.
"""

from typing import ClassVar

from twofold.v1 import errors_pb2

#: Values longer than this are cut in messages and fields: an error must not echo a megabyte.
VALUE_LIMIT = 200


def shorten(value: object) -> str:
    """`value` as printable ASCII of at most VALUE_LIMIT characters."""
    text = value if isinstance(value, str) else repr(value)
    plain = text[: VALUE_LIMIT + 1].encode("unicode_escape").decode("ascii")
    return plain if len(plain) <= VALUE_LIMIT else plain[: VALUE_LIMIT - 3] + "..."


class TwofoldError(Exception):
    """Root of the tree; `code` is a gRPC status code's name."""

    code: ClassVar[str] = "INTERNAL"
    reason: ClassVar[errors_pb2.ErrorReason] = errors_pb2.ERROR_REASON_INTERNAL

    def __init__(self, message: str, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.fields = {name: shorten(value) for name, value in fields.items()}


class InvalidField(TwofoldError):
    """A field of a request is wrong in itself."""

    code = "INVALID_ARGUMENT"
    reason = errors_pb2.ERROR_REASON_INVALID_FIELD

    @classmethod
    def of(cls, field: str, value: object, allowed: str) -> "InvalidField":
        """The usual case: `field` is `value`, but only `allowed` is."""
        text = f"{field} is {shorten(value)}; allowed: {allowed}"
        return cls(text, field=field, value=value, allowed=allowed)


class InvalidData(TwofoldError):
    """A data file cannot be used; fields `row` (from 1) and `column` where known."""

    code = "INVALID_ARGUMENT"
    reason = errors_pb2.ERROR_REASON_INVALID_DATA


class InvalidTensor(TwofoldError):
    """An input tensor does not match the signature; fields `input`, `expected`, `got`."""

    code = "INVALID_ARGUMENT"
    reason = errors_pb2.ERROR_REASON_INVALID_TENSOR


class NotFound(TwofoldError):
    """The resource does not exist, or not for this principal; field `resource`."""

    code = "NOT_FOUND"
    reason = errors_pb2.ERROR_REASON_NOT_FOUND


class RequestIdReused(TwofoldError):
    """A request_id came back with another request; fields `request_id`, `job`."""

    code = "ALREADY_EXISTS"
    reason = errors_pb2.ERROR_REASON_REQUEST_ID_REUSED


class WrongState(TwofoldError):
    """The resource's state does not allow the call; fields `resource`, `state`."""

    code = "FAILED_PRECONDITION"
    reason = errors_pb2.ERROR_REASON_WRONG_STATE


class LimitExceeded(TwofoldError):
    """A limit is reached; fields `limit`, `value`, `allowed`."""

    code = "RESOURCE_EXHAUSTED"
    reason = errors_pb2.ERROR_REASON_LIMIT_EXCEEDED


class QueueFull(TwofoldError):
    """A model's queue has no room for the request; retry after `retry_after_s`."""

    code = "RESOURCE_EXHAUSTED"
    reason = errors_pb2.ERROR_REASON_QUEUE_FULL

    def __init__(self, message: str, *, retry_after_s: float = 0.1, **fields: object) -> None:
        super().__init__(message, **fields)
        self.retry_after_s = retry_after_s


class Unavailable(TwofoldError):
    """Not now: loading, draining, or the queue's server is out of reach. The one to retry."""

    code = "UNAVAILABLE"
    reason = errors_pb2.ERROR_REASON_UNAVAILABLE


class DeadlineExceeded(TwofoldError):
    """The deadline passed before the work ran."""

    code = "DEADLINE_EXCEEDED"
    reason = errors_pb2.ERROR_REASON_DEADLINE_EXCEEDED


class Corrupt(TwofoldError):
    """A stored artifact fails its digest or its format; field `resource`."""

    code = "DATA_LOSS"
    reason = errors_pb2.ERROR_REASON_CORRUPT


class Unimplemented(TwofoldError):
    """The call is not offered."""

    code = "UNIMPLEMENTED"
    reason = errors_pb2.ERROR_REASON_UNIMPLEMENTED


class Conflict(TwofoldError):
    """Another writer was first; read again and repeat. Field `resource`."""

    code = "ABORTED"
    reason = errors_pb2.ERROR_REASON_CONFLICT


class Internal(TwofoldError):
    """A defect of the server. Its text never tells more; the log does."""

    def __init__(self, message: str = "internal error; the server's log has the details") -> None:
        super().__init__(message)
