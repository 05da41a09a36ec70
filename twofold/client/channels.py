"""How both clients open channels."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from twofold.client.calls.call import Server
from twofold.client.retry import RetryPolicy
from twofold.seams import Clock, Randomness, SystemClock, SystemRandomness

#: Where `twofold up` serves.
TRAIN_ADDRESS = "127.0.0.1:50051"
INFER_ADDRESS = "127.0.0.1:8001"
#: Bytes of an answer; the inferer's default limit of a request, and answers are smaller.
_ANSWER_BYTES = 64 << 20
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", _ANSWER_BYTES),
    # The server has the limit, and says so in its own words.
    ("grpc.max_send_message_length", -1),
    # A restarted server is found again within our own backoff, not gRPC's of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Clients of one process must not share connections, and so not each other's backoff either.
    ("grpc.use_local_subchannel_pool", 1),
)
#: Why a call fails once its client is closed.
CLOSED = "the client is closed"
_ROLES: Mapping[Server, str] = {"train": "the trainer", "infer": "the inferer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where the servers are and how calls to them are repeated."""

    train: str = TRAIN_ADDRESS
    """HOST:PORT of the trainer's API."""
    infer: str = INFER_ADDRESS
    """HOST:PORT of the inferer."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    clock: Clock = field(default_factory=SystemClock)
    randomness: Randomness = field(default_factory=SystemRandomness)

    def address(self, server: Server) -> str:
        """HOST:PORT of `server`."""
        return self.train if server == "train" else self.infer

    def peer(self, server: Server) -> str:
        """`server` as messages name it."""
        return f"{_ROLES[server]} at {self.address(server)}"


def as_is(data: bytes) -> bytes:
    """What the channels serialize with: calls bring bytes and read bytes."""
    return data
