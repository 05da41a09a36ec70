"""What the settings of TLS may say. How it is spoken: conformance/test_tls."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from inferer.transport.tls import Tls, tls_of
from tests.inferer.conformance.certificates import Authority
from twofold import config
from twofold.config import InfererSettings, UnusableSettings


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    Authority(folder).issue("server", "localhost")
    return folder


def settings(
    monkeypatch: pytest.MonkeyPatch, folder: Path, names: Mapping[str, str]
) -> InfererSettings:
    for name, value in names.items():
        monkeypatch.setenv(f"TWOFOLD_{name.upper()}", str(folder / value))
    return config.read(InfererSettings)


def test_settings_name_the_files(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tls_of(config.read(InfererSettings)) is None
    names = {"tls_certificate": "server.pem", "tls_key": "server.key", "tls_client_ca": "ca.pem"}
    made = tls_of(settings(monkeypatch, files, names))
    assert made == Tls(files / "server.pem", files / "server.key", files / "ca.pem")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ({"tls_certificate": "server.pem"}, "belong together"),
        ({"tls_key": "server.key"}, "belong together"),
        ({"tls_client_ca": "ca.pem"}, "belong together"),
        ({"tls_certificate": "gone.pem", "tls_key": "server.key"}, "gone.pem"),
        ({"tls_certificate": "ca.pem", "tls_key": "server.key"}, "cannot be set up"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    files: Path, monkeypatch: pytest.MonkeyPatch, names: dict[str, str], why: str
) -> None:
    with pytest.raises(UnusableSettings, match=why):
        tls_of(settings(monkeypatch, files, names))
