"""Clients of a site's APIs, and a reader of its store; both write down all they see."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Sequence
from typing import cast

from tests.chaos import final
from tests.chaos.history import DEFINITE, Event, Sink, Value
from tests.chaos.real.site import TENANT, Process, Site
from twofold import versions
from twofold.errors import NotFound
from twofold.store import LocalStore, StoreError

#: A client's deadline per call, in seconds.
DEADLINE_S = 3.0
_PAUSE_S = 0.1
#: Of calls: unique also where two clients have one name.
_numbers = itertools.count()


class Refused(Exception):
    """A call that did not end with OK; `code` as in the history."""

    def __init__(self, code: str, *, is_definite: bool) -> None:
        super().__init__(code)
        self.code = code
        self.is_definite = is_definite


class Recorder:
    """Calls of one actor, each an invocation and its end in the history."""

    def __init__(self, actor: str, sink: Sink) -> None:
        self.actor = actor
        self._sink = sink

    def begin(self, op: str, **fields: Value) -> str:
        call = f"{self.actor}-{next(_numbers)}"
        self._add("invoke", call, {"op": op, **fields})
        return call

    def end(self, call: str, kind: str, **fields: Value) -> None:
        self._add(kind, call, fields)

    def _add(self, kind: str, call: str, fields: dict[str, Value]) -> None:
        self._sink.add(Event(time.monotonic_ns(), self.actor, kind, call, fields))


class Client:
    """A user who calls whatever API runs."""

    def __init__(self, name: str, site: Site, deadline_s: float = DEADLINE_S) -> None:
        self._recorder = Recorder(name, site.sink)
        self._site = site
        self._deadline_s = deadline_s
        self._turn = itertools.count()

    async def call(self, op: str, **fields: str) -> dict[str, Value]:
        """The answer; raises Refused."""
        call = self._recorder.begin(op, **fields)
        answer: dict[str, Value]
        try:
            async with asyncio.timeout(self._deadline_s):
                answer = await self._exchange({"op": op, **fields})
        except TimeoutError:
            answer = {"code": "DEADLINE_EXCEEDED"}
        except OSError:
            answer = {"code": "UNAVAILABLE"}
        code = str(answer.get("code", ""))
        if not code:
            self._recorder.end(call, "ok", **answer)
            return answer
        is_definite = code in DEFINITE
        self._recorder.end(call, "fail" if is_definite else "unknown", code=code)
        raise Refused(code, is_definite=is_definite)

    async def insist(self, op: str, **fields: str) -> dict[str, Value]:
        """Repeats a call for as long as its outcome is unknown; raises Refused."""
        while True:
            try:
                return await self.call(op, **fields)
            except Refused as refused:
                if refused.is_definite:
                    raise
            await asyncio.sleep(_PAUSE_S)

    async def create(self, request_id: str, model: str, epochs: int = 3) -> str:
        """A job's identifier, whatever it takes; raises Refused."""
        answer = await self.insist("create", request_id=request_id, model=model, epochs=str(epochs))
        return str(answer["job"])

    async def ended(self, job: str, within_s: float = 20) -> dict[str, Value]:
        """The job once it has ended; raises TimeoutError, see Site.until."""
        for _ in range(int(within_s / _PAUSE_S)):
            seen = await self.insist("get", job=job)
            if seen["state"] in _TERMINAL:
                return seen
            await asyncio.sleep(_PAUSE_S)
        raise TimeoutError

    async def _exchange(self, asked: dict[str, str]) -> dict[str, Value]:
        process = _pick(self._site.running("api"), next(self._turn))
        reader, writer = await asyncio.open_unix_connection(process.options.socket)
        try:
            writer.write(json.dumps(asked).encode() + b"\n")
            line = await reader.readline()
        finally:
            writer.close()
        if not line:
            raise ConnectionResetError
        return cast("dict[str, Value]", json.loads(line))


_TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


def _pick(apis: Sequence[Process], turn: int) -> Process:
    if not apis:
        raise ConnectionRefusedError
    return apis[turn % len(apis)]


class Reader:
    """Lists versions all the time, and checks the digests of each."""

    def __init__(self, site: Site, models: Sequence[str], interval_s: float = 0.1) -> None:
        self._recorder = Recorder("reader", site.sink)
        self._store = LocalStore(site.path / "store", read_only=True)
        self._models = models
        self._interval_s = interval_s

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Looks until `is_over()`, and once more."""
        while not is_over():
            self.look()
            await asyncio.sleep(self._interval_s)
        self.look()

    def look(self) -> None:
        """Once at each model."""
        for model in self._models:
            call = self._recorder.begin("versions", model=model)
            try:
                found = versions.visible_versions(self._store, TENANT, model)
            except (StoreError, NotFound):
                self._recorder.end(call, "unknown", code="UNAVAILABLE")
                continue
            numbers = [state.number for state in found]
            broken = [number for number in numbers if not self._is_intact(model, number)]
            self._recorder.end(call, "ok", numbers=numbers, broken=broken)

    def _is_intact(self, model: str, number: int) -> bool:
        return final.is_intact(self._store, TENANT, model, number)
