import pytest

from twofold import config
from twofold.config import InfererSettings, TrainerSettings, UnusableSettings


def test_defaults_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWOFOLD_INSECURE", raising=False)

    assert config.read(TrainerSettings).train_address == "127.0.0.1:50051"
    assert config.read(InfererSettings).infer_address == "127.0.0.1:8001"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("TWOFOLD_LEASE_S", "soon", "number"),
        ("TWOFOLD_LEASE_S", "0", "greater than or equal to 0.5"),
        ("TWOFOLD_ROLE", "boss", "'api', 'worker' or 'both'"),
        ("TWOFOLD_TRAIN_ADDRESS", "50051", "host:port"),
        ("TWOFOLD_TRAIN_ADDRESS", "h:99999", "host:port"),
        ("TWOFOLD_NICE", "-5", "greater than or equal to 0"),
    ],
)
def test_a_wrong_variable_is_named_with_value_and_range(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(UnusableSettings) as caught:
        config.read(TrainerSettings)

    assert variable in str(caught.value)
    assert repr(value) in str(caught.value)
    assert expected in str(caught.value)


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_NICE", "x")
    monkeypatch.setenv("TWOFOLD_THREADS", "y")

    with pytest.raises(UnusableSettings, match=r"(?s)THREADS.*NICE|NICE.*THREADS"):
        config.read(TrainerSettings)


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "example.org:1"])
def test_exposure_without_consent_does_not_start(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("TWOFOLD_INFER_ADDRESS", address)
    monkeypatch.delenv("TWOFOLD_INSECURE", raising=False)

    with pytest.raises(UnusableSettings, match="TWOFOLD_INSECURE=i-know"):
        config.read(InfererSettings)
    monkeypatch.setenv("TWOFOLD_INSECURE", "yes")
    with pytest.raises(UnusableSettings):
        config.read(InfererSettings)
    monkeypatch.setenv("TWOFOLD_INSECURE", "i-know")
    assert config.read(InfererSettings).infer_address == address


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "localhost:1"])
def test_loopback_is_recognised(address: str) -> None:
    assert config.is_loopback(address)


def test_heartbeats_must_fit_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOFOLD_LEASE_S", "3")
    monkeypatch.setenv("TWOFOLD_BEAT_S", "1.1")

    with pytest.raises(UnusableSettings, match="TWOFOLD_BEAT_S"):
        config.read(TrainerSettings)
