"""When a failed call is repeated: UNAVAILABLE only, with jittered backoff, within the deadline."""

from dataclasses import dataclass
from typing import Protocol

import grpc

from twofold import errors, rpc

#: What grpcio says of a call of which it could not write a message.
_WRITE_FAILED = grpc.StatusCode.INTERNAL, "Internal error from Core"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and after which delays. The default gives up after about 3 s."""

    attempts: int = 6
    """Tries in all; 1 never repeats."""
    first_delay_s: float = 0.1
    """Longest delay before the second try."""
    factor: float = 2.0
    """How much longer each next delay may be."""
    longest_delay_s: float = 2.0
    """No delay is longer."""

    def delay_s(self, failures: int, uniform: float) -> float:
        """The delay after the `failures`-th failure in a row; `uniform` in [0, 1) is the jitter.

        Half of it is random: many clients of one restarted server must not come back in step.
        """
        # Past 64 doublings the cap has long been reached; more would overflow.
        full = min(self.longest_delay_s, self.first_delay_s * self.factor ** min(failures - 1, 64))
        return full * (0.5 + 0.5 * uniform)


def next_delay_s(
    policy: RetryPolicy,
    error: errors.TwofoldError,
    failures: int,
    remaining_s: float,
    uniform: float,
) -> float | None:
    """The delay before a call is repeated after its `failures`-th failure; None: not at all."""
    if not isinstance(error, errors.Unavailable) or failures >= policy.attempts:
        return None
    delay_s = policy.delay_s(failures, uniform)
    return delay_s if delay_s < remaining_s else None


class DelayAfter(Protocol):
    """When a call is repeated."""

    def __call__(
        self, error: errors.TwofoldError, remaining_s: float, uniform: float
    ) -> float | None:
        """The delay before it is repeated after another failure; None: not at all."""
        ...


class Tries:
    """The failures of one call."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._failures = 0

    def delay_s(
        self, error: errors.TwofoldError, remaining_s: float, uniform: float
    ) -> float | None:
        """See DelayAfter."""
        self._failures += 1
        return next_delay_s(self._policy, error, self._failures, remaining_s, uniform)


def explain(error: grpc.RpcError | grpc.aio.AioRpcError, peer: str) -> errors.TwofoldError:
    """The error behind a failed call; what the transport itself says names `peer`."""
    found = rpc.from_rpc_error(error)
    if not _is_from_server(error):
        found = _broken(error, peer) or _with_peer(found, peer)
    found.__cause__ = error
    return found


def _broken(error: grpc.RpcError | grpc.aio.AioRpcError, peer: str) -> errors.Unavailable | None:
    """What befell a call that its server did not answer; None: its status tells."""
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return None
    if error.code() is grpc.StatusCode.CANCELLED:
        # We cancel no call ourselves but by closing the client, which is told otherwise: one that
        # reaches a server as it stops is dropped by the server's gRPC.
        return errors.Unavailable(f"{peer} dropped the call: it is stopping", resource=peer)
    if (error.code(), error.details()) == _WRITE_FAILED:
        # grpcio's asyncio API forgets the status that came where a write fails as a call ends
        # (grpc/grpc#36066): of a lost connection, or of a server that answered early.
        return errors.Unavailable(f"the call to {peer} broke as it was sent", resource=peer)
    return None


def _with_peer(found: errors.TwofoldError, peer: str) -> errors.TwofoldError:
    if isinstance(found, errors.Unavailable):
        return errors.Unavailable(f"{peer} cannot be reached: {found.message}", resource=peer)
    if isinstance(found, errors.DeadlineExceeded):
        return errors.DeadlineExceeded(f"no answer from {peer} in time", resource=peer)
    return found


def _is_from_server(error: grpc.RpcError | grpc.aio.AioRpcError) -> bool:
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return False
    return any(key == rpc.DETAILS_KEY for key, _ in error.trailing_metadata() or ())
