"""When a call is repeated, as a table; and what a failed call is told as."""

from collections.abc import Callable
from typing import cast

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold import errors
from twofold.client.retry import RetryPolicy, explain, next_delay_s

POLICY = RetryPolicy(attempts=3, first_delay_s=1.0, factor=2.0, longest_delay_s=3.0)


@pytest.mark.parametrize(
    ("error", "failures", "remaining_s", "expected"),
    [
        (errors.Unavailable("x"), 1, 10.0, 1.0),
        (errors.Unavailable("x"), 2, 10.0, 2.0),
        (errors.Unavailable("x"), 3, 10.0, None),
        (errors.Unavailable("x"), 1, 1.0, None),
        (errors.Unavailable("x"), 1, -1.0, None),
        (errors.QueueFull("x"), 1, 10.0, None),
        (errors.DeadlineExceeded("x"), 1, 10.0, None),
        (errors.Internal(), 1, 10.0, None),
    ],
)
def test_only_unavailable_is_repeated_within_attempts_and_deadline(
    error: errors.TwofoldError, failures: int, remaining_s: float, expected: float | None
) -> None:
    assert next_delay_s(POLICY, error, failures, remaining_s, 1.0) == expected


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_delay_is_jittered_over_half_of_it_and_capped(failures: int, uniform: float) -> None:
    full_s = min(3.0, 2.0 ** min(failures - 1, 10))

    delay_s = POLICY.delay_s(failures, uniform)

    assert full_s / 2 <= delay_s <= full_s


def test_a_call_that_a_stopping_server_drops_may_be_repeated() -> None:
    """gRPC answers CANCELLED, without a word of ours, to what arrives as it stops."""
    error = grpc.aio.AioRpcError(
        grpc.StatusCode.CANCELLED, grpc.aio.Metadata(), grpc.aio.Metadata(), "CANCELLED"
    )

    found = explain(error, "the inferer at 127.0.0.1:8001")

    assert isinstance(found, errors.Unavailable)
    assert found.message == "the inferer at 127.0.0.1:8001 dropped the call: it is stopping"


async def test_a_call_whose_end_grpcio_forgot_may_be_repeated() -> None:
    """What grpcio makes of a failed write, made by its own hand: a real one is a matter of luck."""
    async with grpc.aio.insecure_channel("unix:/nowhere") as channel:
        method = cast(
            "Callable[[], grpc.aio.StreamUnaryCall[bytes, bytes]]", channel.stream_unary("/x/y")
        )
        call = method()
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
        call._cython_call.set_internal_error("")  # pyright: ignore  # noqa: PGH003
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call

    found = explain(failed.value, "the trainer at 127.0.0.1:50051")

    assert isinstance(found, errors.Unavailable)
    assert found.message == "the call to the trainer at 127.0.0.1:50051 broke as it was sent"
