"""The server of the comparison leaves nothing running, also where it does not start well."""

from pathlib import Path

import pytest

from bench.killing import server
from bench.killing.server import Server
from tests.proc import is_running


class Mute(Server):
    """Answers nothing."""

    pid = 0

    def ask(self, *_: str | int) -> object | None:
        return None

    def kill(self) -> None:
        assert self._process is not None
        self.pid = self._process.pid
        super().kill()


def test_a_server_that_does_not_answer_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_START_LIMIT_S", 0.0)
    mute = Mute(tmp_path / "redis")

    with pytest.raises(TimeoutError, match="no answer"):
        mute.__enter__()

    assert mute.pid
    assert not is_running(mute.pid)
