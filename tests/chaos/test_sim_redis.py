"""The simulated server answers as a real one does, command by command and through the script."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from tests.chaos.sim.redis import Server
from tests.valkey import Valkey
from twofold.jobs import Job, Phase, State
from twofold.queue.codec import pairs
from twofold.queue.connection import Argument, GroupExists, NoGroup, Reply
from twofold.queue.plan import plan_change
from twofold.queue.redis_queue import _script

QUEUE = "{t}:queue"
Command = Sequence[Argument]


class Pair:
    """A simulated server and a real one, given the same."""

    def __init__(self, valkey: Valkey) -> None:
        self.sim = Server(lambda: time.time_ns() // 1_000_000, lambda: b"run")
        self._real = Redis.from_url(valkey.url, protocol=2)  # pyright: ignore[reportUnknownMemberType] - redis-py
        self._real.response_callbacks.clear()
        #: What each calls the entries that came up, in the order in which they did.
        self.ids: tuple[list[bytes], list[bytes]] = ([], [])

    def close(self) -> None:
        self._real.close()

    def ask(self, command: Command) -> tuple[object, object]:
        """Both replies, with times and identifiers made comparable."""
        sim, real = (self._fitted(command, ids) for ids in self.ids)
        replies = _answer(lambda: self.sim.execute(sim)), _answer(lambda: self._ask_real(real))
        if command[0] == "XADD":
            for ids, reply in zip(self.ids, replies, strict=True):
                ids.append(cast("bytes", reply))
        if command[0] == "XPENDING" and len(command) > 3:
            replies = _without_idle(replies[0]), _without_idle(replies[1])
        return self._comparable(replies[0], self.ids[0]), self._comparable(replies[1], self.ids[1])

    def _ask_real(self, command: Command) -> Reply:
        ask = cast("Callable[..., Reply]", self._real.execute_command)  # pyright: ignore[reportUnknownMemberType] - redis-py
        return ask(*command)

    def run(self, keys: Sequence[str], arguments: Sequence[Argument]) -> list[list[Reply]]:
        """The script's replies."""
        real = self._ask_real(("EVAL", _script().text, len(keys), *keys, *arguments))
        return cast("list[list[Reply]]", [self.sim.evaluate(_script(), keys, arguments), real])

    def what_is_left(self, *, simulated: bool) -> list[object]:
        """Keys, whether they expire, how long streams are, and the job without its entry's name."""
        ask = self.sim.execute if simulated else self._ask_real
        found: list[object] = []
        for key in sorted(cast("list[bytes]", ask(("KEYS", "twofold:*")))):
            fields = pairs(ask(("HGETALL", key))) if b":job:" in key else {}
            length = 0 if fields else ask(("XLEN", key))
            expires = cast("int", ask(("PTTL", key))) > 0
            found.append((key, expires, length, {**fields, "entry": b""}))
        return found

    @staticmethod
    def _fitted(command: Command, ids: list[bytes]) -> list[Argument]:
        """With "#3" as the fourth entry's identifier."""
        return [
            ids[int(part[1:]) % len(ids)]
            if isinstance(part, str) and part.startswith("#")
            else part
            for part in command
        ]

    def _comparable(self, reply: object, ids: list[bytes]) -> object:
        if isinstance(reply, list):
            return [self._comparable(one, ids) for one in cast("list[object]", reply)]
        if isinstance(reply, bytes) and reply in ids:
            return f"#{ids.index(reply)}"
        return reply


def _without_idle(reply: object) -> object:
    """The two were not asked at the same millisecond."""
    if not isinstance(reply, list):
        return reply
    return [[one[0], one[1], one[3]] for one in cast("list[list[object]]", reply)]


def _answer(act: Callable[[], Reply]) -> object:
    try:
        return act()
    except NoGroup:
        return "no group"
    except GroupExists:
        return "group exists"
    except ResponseError as error:
        text = str(error)
        return "no group" if text.startswith("NOGROUP") or "no such key" in text else "group exists"


@pytest.fixture
def pair(valkey: Valkey) -> Iterator[Pair]:
    both = Pair(valkey)
    yield both
    both.close()
    valkey.command("FLUSHALL")


#: What the queue asks; an upper-case word in angles stands for what is drawn.
COMMANDS = (
    *("XADD {t}:queue MAXLEN ~ 1000 * job <NAME>",) * 3,
    *("XREADGROUP GROUP workers <WORKER> COUNT 2 STREAMS {t}:queue >",) * 3,
    "XACK {t}:queue workers <ENTRY>",
    "XDEL {t}:queue <ENTRY>",
    "XAUTOCLAIM {t}:queue workers <WORKER> 0 0-0 COUNT 50",
    "XCLAIM {t}:queue workers <WORKER> 0 <ENTRY> JUSTID",
    "XCLAIM {t}:queue workers <WORKER> 0 <ENTRY> FORCE JUSTID",
    "XPENDING {t}:queue workers",
    "XPENDING {t}:queue workers - + 10 <WORKER>",
    "XLEN {t}:queue",
    "XRANGE {t}:queue - +",
    "XRANGE {t}:queue <ENTRY> <ENTRY>",
    "XREVRANGE {t}:queue + - COUNT 1",
    "XREAD COUNT 100 STREAMS {t}:queue <ENTRY>",
    "XGROUP CREATE {t}:queue workers 0 MKSTREAM",
    "XGROUP DELCONSUMER {t}:queue workers <WORKER>",
    "ZADD {t}:delayed <NUMBER> <NAME>",
    "ZREM {t}:delayed <NAME>",
    "ZCARD {t}:delayed",
    "ZSCORE {t}:delayed <NAME>",
    "ZRANGE {t}:delayed 0 -1",
    "ZRANGE {t}:delayed 0 99 WITHSCORES",
    "HSET {t}:hash <NAME> <NUMBER>",
    "HSETNX {t}:hash <NAME> <NUMBER>",
    "HGET {t}:hash <NAME>",
    "HGETALL {t}:hash",
    "PTTL {t}:hash",
    "PTTL {t}:none",
    "EXISTS {t}:queue",
    "EXISTS {t}:delayed",
    "EXISTS {t}:hash",
)


def drawn(source: random.Random) -> Command:
    found = {
        "<ENTRY>": f"#{source.randrange(20)}",
        "<WORKER>": source.choice("ab"),
        "<NAME>": source.choice("xyz"),
        "<NUMBER>": str(source.randrange(5)),
    }
    return [found.get(part, part) for part in source.choice(COMMANDS).split()]


@pytest.mark.parametrize("seed", range(30))
def test_it_answers_as_a_real_server(pair: Pair, seed: int) -> None:
    source = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    pair.ask(("XADD", QUEUE, "*", "job", "first"))
    if seed % 3:
        pair.ask(("XGROUP", "CREATE", QUEUE, "workers", "0", "MKSTREAM"))

    for _ in range(120):
        command = drawn(source)
        simulated, real = pair.ask(command)

        assert simulated == real, command


def test_the_script_does_the_same_on_both(pair: Pair) -> None:
    job = Job(id="J", model="m", revision=1, request_id="r", create_ms=5)
    training = {"state": State.JOB_STATE_RUNNING, "phase": Phase.JOB_PHASE_TRAINING}
    running = job._replace(revision=2, attempt="A", owner="w", entry="1-1", **training)
    failed = {"state": State.JOB_STATE_FAILED, "phase": Phase.JOB_PHASE_UNSPECIFIED}
    ended = job._replace(revision=3, **failed)
    steps: list[tuple[str, str, Job | None, Job]] = [
        ("", "t1", None, job),
        ("", "t1", None, job),  # a repeat
        ("t1", "t2", job, running),
        ("t1", "t3", running, ended),  # decided on what is not any more
        ("t2", "t3", running, ended),
    ]

    for guard, token, old, new in steps:
        plan = plan_change("t", old, new)
        simulated, real = pair.run(plan.keys, [guard, token, *plan.arguments])

        assert simulated[0] == real[0]
        assert pair.what_is_left(simulated=True) == pair.what_is_left(simulated=False)
