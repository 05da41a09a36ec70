"""A run of tier R: carry out a plan, let all come to rest, check what was seen and is left."""

import asyncio
import itertools
import os
import signal
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict

from tests.chaos.real import nursery
from tests.chaos.real.client import Client, Reader, Refused
from tests.chaos.real.options import Role
from tests.chaos.real.plan import SPAN_S, Ask, Plan, Trouble, draw
from tests.chaos.real.proxy import Proxy
from tests.chaos.real.site import Process, Site, folder
from tests.chaos.runs import Result, Violation
from trainer import tasks

#: Everything must have settled so long after the last fault: the longest reply timeout, a reaper
#: that waits for a steady server, and three evictions, one after the other, and twice that.
SETTLE_S = 40.0
_LOOK_S = 0.05
_SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}


def run(seed: int) -> Result:
    """One run of this seed."""
    return asyncio.run(play(seed, nursery.shared()))


async def play(seed: int, births: nursery.Nursery) -> Result:
    """One run of this seed; any number may go side by side in one event loop."""
    begun_s = time.monotonic()
    plan = draw(seed)
    with folder() as path:
        site = Site(path, births)
        violations, counts = await Scenario(site, plan).run()
        story = tell(plan, site) if violations or os.environ.get("TWOFOLD_CHAOS_TELL") else ""
    return Result(seed, tuple(violations), time.monotonic() - begun_s, counts, story)


def tell(plan: Plan, site: Site) -> str:
    """The plan, the history and the logs."""
    lines = [f"plan {asdict(plan)}"]
    events = site.events()
    begun_ns = events[0].at_ns if events else 0
    for event in events:
        at_s = (event.at_ns - begun_ns) / 1e9
        lines.append(f"{at_s:8.3f} {event.actor:8} {event.kind} {event.call} {dict(event.fields)}")
    return "\n".join([*lines, site.logs()])


class Scenario:
    """Owned by one event loop; used once."""

    def __init__(self, site: Site, plan: Plan) -> None:
        self._site = site
        self._plan = plan
        self._is_over = False
        #: Of each process, by its name.
        self._proxies: dict[str, Proxy] = {}
        self._names = itertools.count()
        #: Processes that replace others.
        self._starting: list[asyncio.Task[Process]] = []
        self._stack = AsyncExitStack()
        self._redis = asyncio.Lock()

    async def run(self) -> tuple[list[Violation], dict[str, int]]:
        """What is broken, and how often what happened."""
        async with self._site, self._stack:
            models = sorted({ask.model for ask in self._plan.asks})
            reading = asyncio.create_task(Reader(self._site, models).run(lambda: self._is_over))
            await self._start()
            tending = asyncio.create_task(self._tend())
            asking = [asyncio.create_task(self._ask(*each)) for each in enumerate(self._plan.asks)]
            await asyncio.gather(*map(self._break, self._plan.troubles))
            await asyncio.sleep(max(0.0, self._begun_s + SPAN_S - time.monotonic()))
            await self._calm()
            with suppress(TimeoutError):
                await self._site.until(lambda: all(task.done() for task in asking), SETTLE_S)
                await self._site.settle(SETTLE_S)
            await tasks.end(tending, *self._starting, *asking)
            self._is_over = True
            await reading
            return await self._judge(), self._counts()

    async def _start(self) -> None:
        for faults in self._plan.apis:
            await self._fork("api", faults)
        for faults in self._plan.workers:
            await self._fork("worker", faults)
        self._begun_s = time.monotonic()

    async def _fork(self, role: Role, faults: str = "") -> Process:
        """A process behind a proxy of its own."""
        name = f"{role[0]}{next(self._names)}"
        proxy = Proxy(self._site.path / f"{name}.proxy", self._site.valkey.socket)
        self._proxies[name] = await self._stack.enter_async_context(proxy)
        if faults:
            self._site.note("fault", what=faults, which=name)
        if role == "worker":
            return self._site.worker(name, faults=faults, url=proxy.url)
        return await self._site.api(name, faults=faults, url=proxy.url)

    # Clients

    async def _ask(self, index: int, ask: Ask) -> None:
        """One user's doings; whoever gets no answer asks again until there is one."""
        client = Client(f"client{index}", self._site)
        await asyncio.sleep(ask.at_s)
        with suppress(Refused):
            job = await client.create(f"request-{index}", ask.model, ask.epochs)
            if ask.cancel_s >= 0:
                await asyncio.sleep(ask.cancel_s)
                await client.insist("cancel", job=job)
            await client.ended(job, 2 * SETTLE_S)
            if ask.is_retried:
                again = await client.insist("retry", job=job, request_id=f"again-{index}")
                await client.ended(str(again["job"]), 2 * SETTLE_S)

    # Faults

    async def _break(self, trouble: Trouble) -> None:
        await asyncio.sleep(trouble.at_s)
        if trouble.kind.startswith("redis") or trouble.kind == "wipe":
            async with self._redis:
                await self._break_redis(trouble)
            return
        running = self._site.running("api" if trouble.role == "api" else "worker")
        if running:
            await self._break_process(trouble, running[trouble.index % len(running)])

    async def _break_redis(self, trouble: Trouble) -> None:
        site = self._site
        site.note("fault", what=trouble.kind, which="redis")
        match trouble.kind:
            case "wipe":
                site.note("wipe")
                await asyncio.to_thread(site.valkey.command, "FLUSHALL")
            case "redis_pause":
                site.valkey.pause()
                await asyncio.sleep(trouble.for_s)
                site.valkey.resume()
            case _:
                end = site.valkey.kill if trouble.kind == "redis_kill" else site.valkey.stop
                await asyncio.to_thread(end)
                await asyncio.sleep(trouble.for_s)
                await asyncio.to_thread(site.valkey.start)
                site.note("fault", what="redis_back", which="redis")

    async def _break_process(self, trouble: Trouble, process: Process) -> None:
        if trouble.kind in _SIGNALS:
            self._site.signal(process, _SIGNALS[trouble.kind])  # _tend sees to the rest
            return
        self._site.note("fault", what=trouble.kind, which=process.name)
        proxy = self._proxies[process.name]
        match trouble.kind:
            case "reset":
                proxy.reset()
            case "delay":
                proxy.delay_s = 0.1
            case "black":
                proxy.is_black = True
            case "cut":
                proxy.cut_after = trouble.offset
            case _:
                proxy.flip_at = trouble.offset
        await asyncio.sleep(trouble.for_s)
        proxy.heal()
        self._site.note("fault", what="healed", which=process.name)

    async def _tend(self) -> None:
        """Wakes what was stopped and replaces what ended, each after its time."""
        since: dict[str, float] = {}
        replaced: set[str] = set()
        while True:
            await asyncio.sleep(_LOOK_S)
            now_s = time.monotonic()
            for process in list(self._site.processes.values()):
                state = process.state()
                if state not in {"T", ""} or process.name in replaced:
                    since.pop(process.name, None)
                    continue
                wait_s = self._plan.resume_s if state else self._plan.restart_s
                if now_s - since.setdefault(process.name, now_s) < wait_s:
                    continue
                if state:
                    self._wake(process)
                else:
                    replaced.add(process.name)
                    # Not awaited: what starts may be stopped, and only this loop wakes it.
                    self._starting.append(asyncio.create_task(self._fork(process.options.role)))

    def _wake(self, process: Process) -> None:
        self._site.note("fault", what="resume", which=process.name)
        self._site.signal(process, signal.SIGCONT)

    async def _calm(self) -> None:
        """No more faults; `_tend` wakes and replaces what is left over."""
        for proxy in self._proxies.values():
            proxy.heal()
        self._site.note("quiet")

    # The end

    async def _judge(self) -> list[Violation]:
        for process in self._site.running("worker"):
            self._site.signal(process, signal.SIGCONT)
            self._site.signal(process, signal.SIGTERM)
        with suppress(TimeoutError):
            await self._site.until(lambda: not self._site.running("worker"))
        # Many runs share the machine: a lease may be lost without a fault of ours.
        return await self._site.violations(once=False)

    def _counts(self) -> dict[str, int]:
        events = self._site.events()
        return {
            "jobs": len(self._site.jobs()),
            "attempts": sum(event.kind == "train_begin" for event in events),
            "faults": sum(event.kind == "fault" for event in events),
            "calls": sum(event.kind == "invoke" for event in events),
        }
