"""Who loads and unloads versions under simulation: the real policy, driven as by inferer.models."""

from inferer.policies import VersionPolicy
from inferer.versions import DEFAULT, Plan, Retention, Serving, Stored, plan
from tests.chaos.sim.serving_lane import Lane, Stage
from twofold.versions import VersionState

ALIASES = ("canary", "stable")
#: Between two looks at the store, and the longest load.
LOOK_S = 0.6
LOAD_S = 0.5
#: After a load that failed because of the store.
_HOLD_S = 0.5


class Owner:
    """What the store holds, what one inferer has loaded, and which version serves which channel."""

    def __init__(self, stage: Stage) -> None:
        random = stage.random
        self.retention = Retention(
            random.choice((0.2, 1.0, 60.0)),
            max_pinned=random.choice((1, 2, 8)),
            policy=VersionPolicy(random.choice((1, 2, None))),
        )
        self.newest = 0
        self._stage = stage
        # The store: visible versions and whether each was withdrawn; who is damaged stays so.
        self._visible: dict[int, bool] = {}
        self._aliases: dict[str, int] = {}
        self._damaged: set[int] = set()
        # The inferer: what it last saw, and what it has.
        self._stored = Stored()
        self._lanes: dict[int, Lane] = {}
        self._bad: set[int] = set()
        self._held: dict[int, float] = {}
        self._channels: dict[str, int] = {}
        self._pinned: dict[int, float] = {}
        self._replaced: dict[int, float] = {}
        self._loading: int | None = None

    def begin(self, until_s: float) -> None:
        """Publishes a first version, and looks at the store for so many seconds."""
        self._publish()
        at_s = 0.0
        while at_s < until_s:
            self._stage.after(at_s, self._look)
            at_s += self._stage.random.uniform(0.2, LOOK_S)

    def by_channel(self, channel: str) -> Lane | None:
        """The lane that a channel's requests take now."""
        number = self._channels.get(channel)
        return None if number is None else self._lanes[number]

    def by_number(self, number: int) -> Lane | None:
        """The lane of a version that is asked for by its number; asking makes it load."""
        if number in self._lanes or number in self._stored.numbers:
            self._pinned[number] = self._stage.now_s
            self._settle()
        return self._lanes.get(number)

    def disturb(self) -> None:
        """Something changes in the store."""
        random = self._stage.random
        number = random.randint(1, self.newest)
        kind = random.randrange(6)
        if kind == 0 and number in self._visible:
            self._visible[number] = True
            self._stage.tell("withdrawn", number)
        elif kind == 1 and number in self._visible:
            self._aliases[random.choice(ALIASES)] = number
            self._stage.tell("aliases", self._aliases)
        elif kind == 2 and len(self._visible) > 1:
            # Removed for good, as a collector does; what is loaded goes on.
            del self._visible[random.choice(list(self._visible))]
            self._stage.tell("visible", list(self._visible))
        else:
            self._publish()

    def _publish(self) -> None:
        self.newest += self._stage.random.choice((1, 1, 2))  # numbers may have gaps
        self._visible[self.newest] = False
        if self._stage.random.random() < 0.2:
            self._damaged.add(self.newest)
        self._stage.tell("published", self.newest, "damaged", self._damaged)

    def _look(self) -> None:
        """What is taken in later is what stands in the store now; some looks fail."""
        if self._stage.random.random() < 0.05 or not self._visible:
            return
        versions = tuple(VersionState(*each) for each in sorted(self._visible.items()))
        seen = Stored(versions, dict(self._aliases))

        def take_in() -> None:
            if seen != self._stored or self._held or self._replaced:
                self._stored = seen
                self._settle()

        self._stage.after(self._stage.random.random() * 0.05, take_in)

    def _serving(self) -> Serving:
        now_s = self._stage.now_s
        return Serving(
            loaded=frozenset(self._lanes),
            bad=frozenset(self._bad),
            held={number for number, until_s in self._held.items() if now_s < until_s},
            channels=self._channels,
            pinned=self._pinned,
            replaced=self._replaced,
        )

    def _settle(self) -> None:
        """Flips, unloads and begins to load, as the policy says."""
        now_s, serving = self._stage.now_s, self._serving()
        step = plan(self._stored, serving, now_s, self.retention)
        self._check(step, serving)
        self._stage.counts["swaps"] += self._channels.get(DEFAULT) != step.channels.get(DEFAULT)
        if step.channels != self._channels or step.unload:
            self._stage.tell("serves", dict(step.channels), "unloads", set(step.unload))
        self._channels = dict(step.channels)
        self._replaced.update(dict.fromkeys(step.replaced, now_s))
        for number in step.unload:
            self._lanes.pop(number, None)
            self._replaced.pop(number, None)
            self._pinned.pop(number, None)
        if step.load is not None and self._loading is None:
            self._begin_load(step.load)

    def _begin_load(self, number: int) -> None:
        self._loading = number
        random = self._stage.random
        is_held = random.random() < 0.1

        def end() -> None:
            self._loading = None
            if is_held:
                self._held[number] = self._stage.now_s + _HOLD_S
            elif number in self._damaged:
                self._bad.add(number)
            else:
                self._lanes[number] = self._stage.lane(number)
                self._stage.counts["loads"] += 1
            self._stage.tell("load of", number, "ended; loaded:", list(self._lanes))
            self._settle()

        self._stage.after(random.random() * LOAD_S, end)

    def _check(self, step: Plan, serving: Serving) -> None:
        """One step of the policy breaks nothing."""
        now_s, wrong = self._stage.now_s, self._stage.wrong
        if not set(step.channels.values()) <= serving.loaded - step.unload:
            wrong("J5", f"{step} lets a channel serve what is not loaded")
        if step.load is not None and step.load in serving.loaded | serving.bad | serving.held:
            wrong("J5", f"{step} loads what is loaded or refused")
        self._check_channels(step)
        left = {n for n, at_s in self._replaced.items() if now_s - at_s < self.retention.grace_s}
        known = (self._stored.numbers | serving.loaded) - serving.bad
        pinned = sorted(known & self._pinned.keys(), key=lambda number: -self._pinned[number])
        recent = {*self._channels.values(), *left, *pinned[: self.retention.max_pinned]}
        if step.unload & recent:
            wrong("J5", f"{step} unloads what is in use: {step.unload & recent}")

    def _check_channels(self, step: Plan) -> None:
        """Channels never end while something can serve, and never go back unless asked."""
        wrong, before, after = self._stage.wrong, self._channels, step.channels
        withdrawn = {found.number for found in self._stored.versions if found.withdrawn}
        old, new = before.get(DEFAULT), after.get(DEFAULT)
        can_serve = self._stored.numbers - withdrawn - self._bad
        if old is not None and new is None and (can_serve or old not in self._stored.numbers):
            wrong("J5", f"no version serves, though {can_serve or old} can")
        if old is not None and new is not None and new < old and old not in withdrawn:
            wrong("J4", f"the default went from {old} back to {new}")
        if new is not None and new != old and new not in can_serve:
            wrong("J4", f"the default went to {new}, of {can_serve}")
        for alias in ALIASES:
            if before.get(alias) != after.get(alias) != self._stored.aliases.get(alias):
                wrong("J4", f"alias {alias} went from {before.get(alias)} to {after.get(alias)}")

    def check_settled(self) -> None:
        """In the end every channel serves what the store says, where that can be loaded."""
        good = self._visible.keys() - self._damaged
        candidates = {number for number in good if not self._visible[number]}
        served = self._channels.get(DEFAULT)
        if served in self._visible and candidates and served != max(candidates):
            self._stage.wrong("J5", f"{served} serves in the end, of {candidates}")
        kept = self.retention.policy.kept(candidates)
        if self._stored.numbers == self._visible.keys() and set(kept) - self._lanes.keys():
            self._stage.wrong("J5", f"of {kept} only {list(self._lanes)} are loaded in the end")
        for alias, number in self._aliases.items():
            if number in good and self._channels.get(alias) != number:
                self._stage.wrong("J5", f"{alias} serves {self._channels.get(alias)}, not {number}")
