"""Threads are given up where others take the cores, and tried again less and less often."""

import itertools

import pytest

from trainer.sharing import FIRST_PAUSE_S, LONGEST_PAUSE_S, Sharing


class Machine:
    """A clock, and neighbours that hold this many cores."""

    def __init__(self, cores: int) -> None:
        self.now_s, self.waited_s, self.cores, self.busy = 100.0, 7.0, cores, 0.0
        self.sharing = Sharing(cores, self.now_s, self.waited_s)

    def pass_time(self, seconds: float) -> list[int]:
        """The threads of every second."""
        seen: list[int] = []
        for _ in range(int(seconds)):
            self.now_s += 1
            self.waited_s += max(0.0, self.sharing.threads + self.busy - self.cores)
            assert self.sharing.is_due(self.now_s)
            seen.append(self.sharing.look(self.now_s, self.waited_s))
        return seen


def test_every_core_is_taken_where_nobody_else_wants_one() -> None:
    machine = Machine(4)

    assert machine.pass_time(1000) == [4] * 1000
    assert (machine.sharing.reason, machine.sharing.warning) == ("all of the worker's", "")


@pytest.mark.parametrize(
    ("cores", "busy", "left"), [(2, 0.2, 2), (2, 0.3, 1), (2, 1, 1), (2, 5, 1), (16, 3, 13)]
)
def test_what_others_take_is_given_up(cores: int, busy: float, left: int) -> None:
    machine = Machine(cores)
    machine.busy = busy

    assert machine.pass_time(FIRST_PAUSE_S) == [left] * int(FIRST_PAUSE_S)
    assert (machine.sharing.warning != "") == (left < cores)


def test_the_reason_and_the_warning_tell_the_numbers() -> None:
    machine = Machine(8)
    machine.busy = 2
    machine.pass_time(2)

    assert machine.sharing.reason == "6 of 8: other processes want the cores"
    assert machine.sharing.warning.startswith("trained on 6 to 8 CPU threads")


def test_cores_that_are_free_again_are_found() -> None:
    machine = Machine(2)
    machine.busy = 1
    machine.pass_time(3)
    machine.busy = 0

    assert machine.pass_time(2 * FIRST_PAUSE_S)[-1] == 2
    assert "1 to 2 CPU threads" in machine.sharing.warning  # for it happened


def test_tries_become_rare_where_they_fail_and_frequent_again_later() -> None:
    machine = Machine(2)
    machine.busy = 1
    seen = machine.pass_time(3600)

    tries = [second for second, threads in enumerate(seen) if threads == 2]
    gaps = [after - before for before, after in itertools.pairwise(tries)]
    assert gaps == sorted(gaps)
    assert (tries[0], gaps[-1]) == (FIRST_PAUSE_S, LONGEST_PAUSE_S + 1)
    assert len(tries) < 16

    machine.busy = 0
    assert machine.pass_time(2 * LONGEST_PAUSE_S)[-1] == 2
    machine.busy = 1
    assert machine.pass_time(FIRST_PAUSE_S + 1)[-2:] == [1, 2]
