"""The precision is picked from facts, and every pick has a reason."""

from dataclasses import replace

import pytest

from trainer.precision import LARGE_STEP, Facts, choose
from twofold.v1 import spec_pb2

BF16, AUTO = spec_pb2.PRECISION_BF16, spec_pb2.PRECISION_AUTO
TF32, FP32 = spec_pb2.PRECISION_TF32, spec_pb2.PRECISION_FP32
CPU = Facts(
    "cpu",
    has_bf16=True,
    has_tf32=False,
    step_cost=LARGE_STEP,
    task=spec_pb2.TASK_CLASSIFICATION,
)
GPU = replace(CPU, device="cuda", has_tf32=True, step_cost=1)
OLD_GPU = replace(GPU, has_bf16=False, has_tf32=False)


@pytest.mark.parametrize(
    ("asked", "facts", "name", "reason"),
    [
        (FP32, GPU, "fp32", "default"),
        (BF16, CPU, "bf16", "asked for"),
        (BF16, replace(CPU, has_bf16=False), "fp32", "cpu has none"),
        (BF16, OLD_GPU, "fp32", "cuda has none"),
        (TF32, GPU, "tf32", "asked for"),
        (TF32, CPU, "fp32", "cpu has none"),
        (AUTO, CPU, "bf16", "computes with bf16"),
        (AUTO, GPU, "bf16", "computes with bf16"),
        (AUTO, OLD_GPU, "fp32", "no bf16"),
        (AUTO, replace(CPU, step_cost=LARGE_STEP - 1), "fp32", "too small"),
        (AUTO, replace(CPU, task=spec_pb2.TASK_REGRESSION), "fp32", "regression"),
        (AUTO, replace(GPU, task=spec_pb2.TASK_REGRESSION), "tf32", "regression"),
        (AUTO, replace(CPU, has_bf16=False), "fp32", "no bf16"),
    ],
)
def test_a_precision_and_its_reason(
    asked: spec_pb2.Precision, facts: Facts, name: str, reason: str
) -> None:
    choice = choose(asked, facts)

    assert choice.name == name
    assert reason in choice.reason
