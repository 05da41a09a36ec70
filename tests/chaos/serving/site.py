"""An inferer without torch and without a port: what the app puts together, over a real store."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inferer.batcher import Limits
from inferer.health import Health
from inferer.loading import Loader, load_lane, measure
from inferer.memory import Memory
from inferer.models import Models
from inferer.service import SERVICE, InferenceService
from inferer.transport import PlainCall
from inferer.versions import Retention
from inferer.watcher import StoreReader, Watcher
from tests.chaos.serving.doubles import FakeEngine
from twofold import tensors
from twofold.oip import inference_pb2 as pb
from twofold.principal import LOCAL
from twofold.seams import Clock
from twofold.store import LocalStore, StoreError
from twofold.tensors import Array

MODEL = "m"


class AwayStore(LocalStore):
    """A store that cannot be read while `is_away`."""

    is_away = False

    def _check(self) -> None:
        if self.is_away:
            raise StoreError("the store cannot be used now; try again later")

    def read(self, key: str, limit_bytes: int = 64 << 20) -> bytes | None:
        """See Store."""
        self._check()
        return super().read(key, limit_bytes)

    def names(self, key: str) -> list[str]:
        """See Store."""
        self._check()
        return super().names(key)

    def exists(self, key: str) -> bool:
        """See Store."""
        self._check()
        return super().exists(key)


@dataclass(frozen=True, slots=True)
class Options:
    """What an inferer's settings say."""

    limits: Limits = field(default_factory=lambda: Limits(max_batch_size=8, max_queue_size=1000))
    retention: Retention = field(default_factory=Retention)
    interval_s: float = 0.05
    events: Callable[[], AsyncIterator[None]] | None = None
    #: What all loaded versions together may take; 0: no bound.
    budget_bytes: int = 0


class Site:
    """One inferer's parts; `run` is its life, `infer` a request of a client."""

    def __init__(
        self,
        root: Path,
        engine: FakeEngine,
        clock: Clock,
        options: "Options | None" = None,
    ) -> None:
        self.engine = engine
        self.store = AwayStore(root, read_only=True)
        options = options or Options()
        limits = options.limits
        loader = Loader(self.store, engine, limits.max_batch_size)
        load = functools.partial(load_lane, loader, LOCAL.tenant, lambda _: limits, clock)
        memory = Memory(options.budget_bytes, functools.partial(measure, loader, LOCAL.tenant))
        self.models = Models(
            load, clock, options.retention, memory=memory if options.budget_bytes else None
        )
        reader = StoreReader(self.store, LOCAL.tenant)
        self.watcher = Watcher(reader, self.models, clock, options.interval_s, options.events)
        tenants = {LOCAL.tenant: self.models}
        self.health = Health()
        self.service = InferenceService(tenants, self.watcher.missed, self.health)

    async def run(self) -> None:
        """Loads and looks until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.models.run())
            group.create_task(self.watcher.run())

    async def infer(
        self, rows: Array, reference: str = "", deadline_s: float = float("inf")
    ) -> tuple[int, Array]:
        """The version that answered, and its answer."""
        request = infer_request({"x": rows}, reference)
        call = PlainCall(SERVICE + "ModelInfer", deadline_s=deadline_s)
        answer = await self.service.unary(call, request.SerializeToString())
        return answer_of(pb.ModelInferResponse.FromString(answer))

    async def value(self, reference: str = "") -> tuple[int, float]:
        """The version that answered, and what it adds."""
        number, value = await self.infer(np.zeros((1, 1), np.float32), reference)
        return number, float(value[0, 0])


def infer_request(inputs: Mapping[str, Array], reference: str = "") -> pb.ModelInferRequest:
    """A request as clients build it."""
    request = pb.ModelInferRequest(model_name=MODEL, model_version=reference)
    for name, array in inputs.items():
        request.inputs.add(name=name, datatype=tensors.datatype_of(array), shape=array.shape)
        request.raw_input_contents.append(tensors.to_raw(array))
    return request


def answer_of(response: pb.ModelInferResponse) -> tuple[int, Array]:
    """The version, and the one output."""
    (output,) = response.outputs
    (raw,) = response.raw_output_contents
    return int(response.model_version), tensors.from_raw(output.datatype, output.shape, raw)
