"""Work aside is done in order, outlives errors, and keeps no process from ending."""

import threading

import pytest

from inferer.aside import Aside
from tests.inferer.fakes import never


def test_work_is_done_in_order_by_one_thread() -> None:
    aside, done, names = Aside("worker"), threading.Event(), list[str]()

    aside.submit(lambda: names.append(f"1 {threading.current_thread().name}"))
    aside.submit(lambda: names.append(f"2 {threading.current_thread().name}"))
    aside.submit(done.set)

    assert done.wait(10)
    assert names == ["1 worker", "2 worker"]
    aside.close()


def test_what_fails_is_logged_and_the_next_is_done(caplog: pytest.LogCaptureFixture) -> None:
    aside, done = Aside("worker"), threading.Event()

    aside.submit(never)
    aside.submit(done.set)

    assert done.wait(10)
    assert "work aside failed" in caplog.text
    aside.close()


def test_after_closing_nothing_more_is_begun() -> None:
    aside, begun, may_end, over = Aside("worker"), threading.Event(), threading.Event(), list[int]()

    def work() -> None:
        begun.set()
        may_end.wait(10)

    aside.submit(work)
    aside.submit(lambda: over.append(1))
    assert begun.wait(10)
    aside.close()
    aside.submit(lambda: over.append(2))
    may_end.set()
    thread = aside._thread
    assert thread is not None
    thread.join(10)

    assert (over, thread.is_alive(), thread.daemon) == ([], False, True)
