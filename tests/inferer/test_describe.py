from inferer import describe
from inferer.batcher import Limits, QueuePolicy
from tests.inferer.fakes import FakeClock, served
from twofold.oip import config_pb2


def test_the_configuration_tells_priorities_in_tritons_words() -> None:
    """The bytes are what Triton's own message of this name has."""
    queues = (
        QueuePolicy(50, 0.25, allow_timeout_override=False),
        QueuePolicy(70, timeout_action="DELAY"),
    )
    limits = Limits(8, 60, 0.0015, (4, 8), queues, default_priority_level=2)
    made = served("m", 1, FakeClock(), limits=limits)

    batching = describe.config(made).dynamic_batching

    first = config_pb2.ModelQueuePolicy(default_timeout_microseconds=250_000, max_queue_size=50)
    second = config_pb2.ModelQueuePolicy(
        timeout_action=config_pb2.ModelQueuePolicy.DELAY,
        allow_timeout_override=True,
        max_queue_size=70,
    )
    assert batching == config_pb2.ModelDynamicBatching(
        preferred_batch_size=[4, 8],
        max_queue_delay_microseconds=1500,
        priority_levels=2,
        default_priority_level=2,
        default_queue_policy=second,
        priority_queue_policy={1: first, 2: second},
    )
    # Field numbers of Triton's model_config.proto, on the wire.
    assert second.SerializeToString() == bytes.fromhex("0801 1801 2046")
    assert first.SerializeToString() == bytes.fromhex("1090a10f 2032")
    head = bytes.fromhex("0a020408 10dc0b 2002 2802 3206 080118012046")
    assert batching.SerializeToString(deterministic=True).startswith(head)
