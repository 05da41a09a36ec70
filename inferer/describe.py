"""What the server and its models say of themselves: metadata, configuration, statistics."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from inferer.batcher import Limits, QueuePolicy
from inferer.models import Served
from inferer.statistics import Duration, Parts, VersionStatistics
from twofold.oip import config_pb2, inference_pb2
from twofold.signature import TensorSpec
from twofold.v1 import spec_pb2

PLATFORM = "twofold_torch"
#: Extensions that are answered; clients look for "statistics".
EXTENSIONS = ("classification", "model_configuration", "model_repository", "statistics")

_CONFIG_TYPES = {
    "FP32": config_pb2.TYPE_FP32,
    "FP64": config_pb2.TYPE_FP64,
    "INT64": config_pb2.TYPE_INT64,
    "INT32": config_pb2.TYPE_INT32,
    "BOOL": config_pb2.TYPE_BOOL,
    "BYTES": config_pb2.TYPE_STRING,
}

_Metadata = inference_pb2.ModelMetadataResponse


def metadata(served: Served, versions: Iterable[int]) -> inference_pb2.ModelMetadataResponse:
    """A version's tensors, and what a client needs to fill and read them."""
    return inference_pb2.ModelMetadataResponse(
        name=served.model,
        versions=[str(number) for number in versions],
        platform=PLATFORM,
        inputs=[_tensor(spec) for spec in served.signature.inputs.values()],
        outputs=[_tensor(spec) for spec in served.signature.outputs.values()],
        properties=_properties(served),
    )


def _tensor(spec: TensorSpec) -> _Metadata.TensorMetadata:
    return _Metadata.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)


def _properties(served: Served) -> dict[str, str]:
    """Lists are JSON; the columns stand in the order of their tensor."""
    features, lineage = served.manifest.features, served.manifest.lineage
    return {
        "version": str(served.number),
        "manifest_sha256": served.manifest_sha256,
        "numeric_columns": json.dumps(list(features.numeric_columns)),
        "category_columns": json.dumps([column.name for column in features.category_columns]),
        "array_columns": json.dumps([column.name for column in features.array_columns]),
        "labels": json.dumps(list(features.labels)),
        "target": features.target,
        "targets": json.dumps(list(features.targets) or [features.target]),
        "task": spec_pb2.Task.Name(features.task).removeprefix("TASK_").lower(),
        "job": lineage.job,
        "dataset": lineage.dataset,
        "code_version": lineage.code_version,
    }


def config(served: Served) -> config_pb2.ModelConfig:
    """A version's configuration in Triton's words; dimensions stand without the batch."""
    return config_pb2.ModelConfig(
        name=served.model,
        platform=PLATFORM,
        backend="twofold",
        max_batch_size=served.signature.max_batch_size,
        input=[
            config_pb2.ModelInput(
                name=spec.name, data_type=_CONFIG_TYPES[spec.datatype], dims=spec.shape[1:]
            )
            for spec in served.signature.inputs.values()
        ],
        output=[
            config_pb2.ModelOutput(
                name=spec.name, data_type=_CONFIG_TYPES[spec.datatype], dims=spec.shape[1:]
            )
            for spec in served.signature.outputs.values()
        ],
        dynamic_batching=_batching(served.lane.limits),
        model_transaction_policy=config_pb2.ModelTransactionPolicy(decoupled=False),
        response_cache=config_pb2.ModelResponseCache(enable=False),
        parameters={
            name: config_pb2.ModelParameter(string_value=value)
            for name, value in _told(served).items()
        },
    )


@runtime_checkable
class _Telling(Protocol):
    """A program that says what runs it."""

    #: For people, by what it is.
    told: Mapping[str, str]


def _told(served: Served) -> Mapping[str, str]:
    """Which form of the network runs which batch sizes, and why."""
    program = served.lane.program
    return program.told if isinstance(program, _Telling) else {}


def _batching(limits: Limits) -> config_pb2.ModelDynamicBatching:
    policies = [_policy(policy) for policy in limits.policies]
    has_levels = len(policies) > 1
    default = limits.default_priority_level
    return config_pb2.ModelDynamicBatching(
        preferred_batch_size=limits.preferred_batch_size,
        max_queue_delay_microseconds=round(limits.max_queue_delay_s * 1e6),
        # One batch of a version at a time: what nobody passes in the queue is answered in order.
        preserve_ordering=not has_levels and limits.policies[0].timeout_action == "REJECT",
        priority_levels=len(policies) if has_levels else 0,
        default_priority_level=default if has_levels else 0,
        default_queue_policy=policies[default - 1],
        priority_queue_policy=dict(enumerate(policies, start=1)) if has_levels else {},
    )


def _policy(policy: QueuePolicy) -> config_pb2.ModelQueuePolicy:
    timeout_s = policy.default_timeout_s
    return config_pb2.ModelQueuePolicy(
        timeout_action=policy.timeout_action,
        default_timeout_microseconds=round(timeout_s * 1e6) if timeout_s < math.inf else 0,
        allow_timeout_override=policy.allow_timeout_override,
        max_queue_size=policy.max_queue_size,
    )


def statistics(served: Served) -> inference_pb2.ModelStatistics:
    """A version's counts since it was loaded."""
    counted = served.lane.statistics
    return inference_pb2.ModelStatistics(
        name=served.model,
        version=str(served.number),
        last_inference=counted.last_inference_ms,
        inference_count=counted.row_count,
        execution_count=counted.batch_count,
        inference_stats=_request_durations(counted),
        batch_stats=[
            inference_pb2.InferBatchStatistics(
                batch_size=size,
                compute_input=_duration(parts.input),
                compute_infer=_duration(parts.infer),
                compute_output=_duration(parts.output),
            )
            for size, parts in sorted(counted.batches.items())
        ],
    )


def _request_durations(counted: VersionStatistics) -> inference_pb2.InferStatistics:
    parts: Parts = counted.parts
    return inference_pb2.InferStatistics(
        success=_duration(counted.success),
        fail=_duration(counted.failure),
        queue=_duration(counted.queue),
        compute_input=_duration(parts.input),
        compute_infer=_duration(parts.infer),
        compute_output=_duration(parts.output),
    )


def _duration(duration: Duration) -> inference_pb2.StatisticDuration:
    return inference_pb2.StatisticDuration(count=duration.count, ns=duration.ns)
