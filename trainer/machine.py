"""The device and the process: what there is, what a job gets, what it must not inherit."""
# pyright: reportUnknownMemberType=false

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from trainer import memory
from trainer.precision import Facts
from twofold.errors import WrongState
from twofold.v1 import spec_pb2

#: Below this many multiply-adds a step is over before a second thread has woken up, and two threads
#: stall for seconds where the other core is busy: such steps train on one thread.
SMALL_STEP = 20_000_000
#: First compute capability with bf16 and TF32 (Ampere).
_AMPERE = (8, 0)


def choose_device(asked: str) -> torch.device:
    """The device asked for; "": the best there is. Raises WrongState where it is not there."""
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise WrongState(
            "a CUDA device was asked for, and torch finds none; use TWOFOLD_DEVICE=cpu"
        )
    return torch.device(asked or ("cuda:0" if torch.cuda.is_available() else "cpu"))


def choose_threads(
    options: spec_pb2.TrainingOptions, step_cost: int, available: int
) -> tuple[int, str]:
    """CPU threads and why: the spec's, one for small steps, else what the worker has.

    `step_cost` is the multiply-adds of a pass.
    """
    if options.HasField("threads"):
        if options.threads > available:
            return available, f"all of the worker's; {options.threads} were asked for"
        return options.threads, "asked for"
    if step_cost < SMALL_STEP:
        return 1, "the steps are small: a second thread would only wait"
    return available, "all of the worker's"


def use_threads(count: int) -> None:
    """Sets how many threads compute from the next operation on."""
    torch.set_num_threads(count)


def facts(device: torch.device, step_cost: int, task: spec_pb2.Task) -> Facts:
    """What the choice of a precision depends on."""
    if device.type == "cuda":
        is_new = torch.cuda.get_device_capability(device) >= _AMPERE
        return Facts("cuda", is_new, is_new, step_cost, task)
    able = torch.cpu.get_capabilities()
    has_bf16 = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))
    return Facts("cpu", has_bf16, has_tf32=False, step_cost=step_cost, task=task)


@cache
def processor(device: torch.device) -> str:
    """What computes: another one rounds otherwise, by other instructions and sizes of caches."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = ""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
        model = next(
            (line.partition(":")[2] for line in lines if line.startswith("model name")), ""
        )
    return f"{model} {torch.backends.cpu.get_cpu_capability()}".strip()


def memory_bytes(asked: str) -> int:
    """Free memory of the device that `choose_device` gives, in bytes."""
    device = choose_device(asked)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return memory.available_bytes()


def allow_determinism() -> None:
    """Before anything of CUDA is made: cuBLAS reads this once, and may only then be repeatable."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def settle_process(
    device: torch.device,
    threads: int,
    seed: int,
    *,
    tf32: bool = False,
    deterministic: bool = False,
) -> None:
    """Sets what is global in the process, so that no job inherits it from the one before."""
    use_threads(threads)
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.use_deterministic_algorithms(mode=deterministic)
    torch.manual_seed(seed)
    torch.backends.cudnn.allow_tf32 = tf32
    # Trying algorithms out picks the fastest, but not the same one in every process.
    torch.backends.cudnn.benchmark = not deterministic and device.type == "cuda"
    torch.backends.cudnn.deterministic = deterministic
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
