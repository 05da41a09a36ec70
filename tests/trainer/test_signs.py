"""Signs of life have an end."""

import threading

import pytest

from trainer import signs


def test_signs_are_shown_while_a_call_runs_and_end_with_it() -> None:
    seen, third = [0], threading.Event()

    def tell() -> None:
        seen[0] += 1
        if seen[0] == 3:
            third.set()

    with signs.shown(tell, gap_s=0.001, limit_s=20):
        assert third.wait(20)
    count = seen[0]

    assert all(thread.name != "signs" for thread in threading.enumerate())
    assert seen[0] == count


def test_what_hangs_stops_showing_them() -> None:
    seen: list[int] = []
    with signs.shown(lambda: seen.append(0), gap_s=0.001, limit_s=0.003):
        (thread,) = [one for one in threading.enumerate() if one.name == "signs"]
        thread.join(20)
        assert len(seen) == 3


def test_a_failure_ends_them_too() -> None:
    with pytest.raises(ZeroDivisionError), signs.shown(lambda: None, gap_s=0.001, limit_s=20):
        raise ZeroDivisionError
    assert all(thread.name != "signs" for thread in threading.enumerate())
