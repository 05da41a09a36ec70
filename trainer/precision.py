"""In which precision a network computes while it trains. The decision is pure; no torch."""

from dataclasses import dataclass

from twofold.v1 import spec_pb2


@dataclass(frozen=True, slots=True)
class Facts:
    """What the choice depends on."""

    #: "cpu" or "cuda".
    device: str
    #: Whether the device computes with bfloat16 itself, instead of converting.
    has_bf16: bool
    #: Whether the device has TF32.
    has_tf32: bool
    #: Parameters times rows of a step: about its multiply-adds.
    step_cost: int
    task: spec_pb2.Task


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice and why."""

    name: str
    reason: str


#: Below this many multiply-adds per step the conversions cost more than the products save.
#: Measured on 1 and 2 CPU threads with AVX-512 bf16, speed of fp32 against bf16: 0.6 at 2M, 0.8 to
#: 0.9 at 5M, 1.0 to 1.3 at 20M, 1.5 to 1.9 at 75M, 3 at 600M.
LARGE_STEP = 20_000_000


def choose(asked: spec_pb2.Precision, facts: Facts) -> Choice:
    """One of "fp32", "tf32" and "bf16", and why."""
    match asked:
        case spec_pb2.PRECISION_BF16:
            if facts.has_bf16:
                return Choice("bf16", "asked for")
            return Choice("fp32", f"bf16 was asked for, but this {facts.device} has none")
        case spec_pb2.PRECISION_TF32:
            if facts.has_tf32:
                return Choice("tf32", "asked for")
            return Choice("fp32", f"tf32 was asked for, but this {facts.device} has none")
        case spec_pb2.PRECISION_AUTO:
            return _fastest(facts)
        case _:
            return Choice("fp32", "asked for, or by default")


def _fastest(facts: Facts) -> Choice:
    other = "tf32" if facts.has_tf32 else "fp32"
    if not facts.has_bf16:
        return Choice(other, f"this {facts.device} has no bf16")
    if facts.task != spec_pb2.TASK_CLASSIFICATION:
        return Choice(other, "bf16 would round the values that a regression predicts")
    if facts.device == "cpu" and facts.step_cost < LARGE_STEP:
        return Choice(other, "the steps are too small for bf16 to pay")
    return Choice("bf16", f"this {facts.device} computes with bf16")
