"""What the clients of a scenario asked and got, and what of it breaks a promise."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.runs import Violation
from twofold.errors import TwofoldError

#: Leaving takes a turn of the loop, and other versions' small batches may run in it.
_LEAVE_S = 0.01
#: Timers may fire this early: what the event loop takes for the same time.
_SAME_S = 1e-6


@dataclass(slots=True)
class Asked:
    """One request. Its number stands in every row that it sends."""

    number: int
    reference: str
    begin_s: float
    deadline_s: float
    #: The highest default version, and the latest move of each alias, that anybody had seen then.
    seen: int
    ran_s: list[float] = field(default_factory=list[float])
    cancelled_s: float | None = None
    end: str = ""


@dataclass(slots=True)
class Account:
    """What stands in the store, as whoever changed it knows."""

    #: What each published version adds; those with other files on disk must never run.
    values: dict[int, float] = field(default_factory=dict[int, float])
    damaged: set[int] = field(default_factory=set[int])
    withdrawn: set[int] = field(default_factory=set[int])
    #: Every version that an alias ever stood for.
    aliases: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    @property
    def best(self) -> int:
        """The version that should serve by default; 0: none can."""
        return max(self.values.keys() - self.damaged - self.withdrawn, default=0)


class Book:
    """Every request of one run, and the violations."""

    def __init__(self) -> None:
        self.account = Account()
        self.asked: list[Asked] = []
        self.violations: list[Violation] = []
        self.counts: Counter[str] = Counter()
        self.lines: list[str] = []
        #: What the slowest version needs for all that can wait: a refusal may come so early.
        self.early_s = 0.0
        # Per reference, the version that answered last.
        self._answered: dict[str, int] = {}

    def tell(self, now_s: float, text: str) -> None:
        """A line of the story."""
        self.lines.append(f"{now_s - 1000:9.4f} {text}")

    def wrong(self, invariant: str, text: str) -> None:
        """A promise was broken."""
        self.violations.append(Violation(invariant, text))
        self.lines.append(f"    WRONG {invariant} {text}")

    def begin(self, reference: str, now_s: float, deadline_s: float) -> Asked:
        """A client asks."""
        seen = self._answered.get(reference, 0)
        asked = Asked(len(self.asked), reference, now_s, deadline_s, seen)
        self.asked.append(asked)
        self.counts["requests"] += 1
        return asked

    def ran(self, numbers: Sequence[int], now_s: float) -> None:
        """A batch of these requests runs now."""
        self.counts["batches"] += 1
        for number in numbers:
            asked = self.asked[number]
            asked.ran_s.append(now_s)
            if len(asked.ran_s) > 1:
                self.wrong("ONCE", f"{asked} runs again at {now_s}")
            if now_s >= asked.deadline_s:
                self.wrong("DEADLINE", f"{asked} runs at {now_s}, after its deadline")
            if asked.cancelled_s is not None and now_s > asked.cancelled_s + _LEAVE_S:
                self.wrong("CANCELLED", f"{asked} runs at {now_s}, after its caller left")

    def answered(self, asked: Asked, version: int, added: Sequence[float]) -> None:
        """A client got an answer: what `version` added to each of its rows."""
        asked.end = f"version {version}"
        if not asked.ran_s:
            self.wrong("J5", f"{asked} was answered and never ran")
        account = self.account
        expected = account.values.get(version)
        if expected is None or version in account.damaged:
            self.wrong("J3", f"{asked}: that version must not be seen")
        elif any(value != expected for value in added):
            self.wrong("J4", f"{asked} got {added}; that version adds {expected}")
        self._check_channel(asked, version)
        if version != self._answered.get(asked.reference):
            self.counts["swaps"] += 1
        self._answered[asked.reference] = version

    def _check_channel(self, asked: Asked, version: int) -> None:
        account, reference = self.account, asked.reference
        if reference.isdigit() and int(reference) != version:
            self.wrong("J4", f"{asked} asked for another version")
        is_back = version < asked.seen and asked.seen not in account.withdrawn
        if not reference and is_back:
            self.wrong("J4", f"{asked}: the default went back from {asked.seen}")
        if reference.startswith(":"):
            targets = account.aliases[reference[1:]]
            since = targets.index(asked.seen) if asked.seen else 0
            if version not in targets[since:]:
                self.wrong("J4", f"{asked}: the alias stood for {targets}, {asked.seen} before")

    def refused(self, asked: Asked, error: TwofoldError, now_s: float) -> None:
        """A client got an error."""
        asked.end = error.code
        self.counts[error.code.lower()] += 1
        if not self._is_right(asked, error.code, now_s):
            self.wrong("J5", f"{asked} at {now_s}: {error.message}")

    def _is_right(self, asked: Asked, code: str, now_s: float) -> bool:
        """Whether this error may be given for this request."""
        reference = asked.reference
        number = int(reference) if reference.isdigit() else 0
        is_served = bool(asked.seen) and not number
        allowed: Mapping[str, bool] = {
            "DEADLINE_EXCEEDED": now_s >= asked.deadline_s - _SAME_S - self.early_s,
            "RESOURCE_EXHAUSTED": True,  # the queue of a version is bounded
            "NOT_FOUND": not asked.seen,
            "DATA_LOSS": not is_served and self._may_be_damaged(reference, number),
            "UNAVAILABLE": not is_served,
        }
        return allowed.get(code, False)

    def _may_be_damaged(self, reference: str, number: int) -> bool:
        account = self.account
        targets = {number} if number else set(account.aliases.get(reference[1:], account.values))
        return bool(targets & account.damaged)
