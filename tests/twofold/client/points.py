"""A metric series as the server sends it."""

from google.protobuf import timestamp_pb2

from twofold.v1 import training_pb2


def metric_points(count: int) -> list[training_pb2.MetricPoint]:
    """Epochs whose loss falls; of every other one the accuracy is known."""
    return [
        training_pb2.MetricPoint(
            epoch=epoch,
            step=epoch * 10,
            time=timestamp_pb2.Timestamp(seconds=1_700_000_000 + epoch),
            loss=1 / epoch,
            validation_loss=2 / epoch,
            metrics={"accuracy": 1 - 1 / epoch} if epoch % 2 == 0 else {},
            learning_rate=0.1,
            attempt="01J00000000000000000000001",
        )
        for epoch in range(1, count + 1)
    ]
