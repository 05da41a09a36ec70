"""Settings of the services: TWOFOLD_* variables, read once, refused with value and remedy.

The table in README.md is made from these classes by `python -m tools.config_table`.
"""

import ipaddress
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeVar, cast

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from twofold import collector, jobs

INSECURE_VARIABLE = "TWOFOLD_INSECURE"
INSECURE_VALUE = "i-know"
#: What addresses of sockets in the file system begin with.
UNIX = "unix:"


class UnusableSettings(Exception):
    """Settings that must not start a service; the message names variable, value and remedy."""


def split_address(text: str) -> tuple[str, int]:
    """("127.0.0.1", 8001) of "127.0.0.1:8001"; raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:  # noqa: PLR2004 - TCP's largest port
        raise ValueError("must be HOST:PORT with a port from 0 (any free one) to 65535")
    return host.strip("[]"), int(port)


def _check_address(text: str) -> str:
    split_address(text)
    return text


Address = Annotated[str, AfterValidator(_check_address)]


def _check_infer_address(text: str) -> str:
    if text.startswith(UNIX):
        if not text.removeprefix(UNIX).startswith("/"):
            raise ValueError("must be unix: and an absolute path, or HOST:PORT")
        return text
    return _check_address(text)


InferAddress = Annotated[str, AfterValidator(_check_infer_address)]


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach HOST:PORT, or unix:PATH."""
    if address.startswith(UNIX):
        return True
    host, _ = split_address(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class CommonSettings(BaseSettings):
    """What both services have."""

    model_config = SettingsConfigDict(env_prefix="TWOFOLD_", frozen=True)

    store: Path = Field(Path(".twofold/store"), description="folder of the store")
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis or Valkey of the queue; unix:// too; empty for an inferer that polls",
    )
    metrics_address: Address = Field(
        "127.0.0.1:8002", description="HOST:PORT of the Prometheus page; port 0 takes a free one"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="least level that is logged"
    )
    log_style: Literal["auto", "json", "human"] = Field(
        "auto", description="auto: human on a terminal, else JSON lines"
    )
    drain_s: float = Field(
        10.0, ge=0, le=3600, description="seconds that running work gets after SIGTERM"
    )


class TrainerSettings(CommonSettings):
    """The trainer's settings."""

    role: Literal["api", "worker", "both"] = Field("both", description="which part runs")
    train_address: Address = Field("127.0.0.1:50051", description="HOST:PORT of the trainer's API")
    lease_s: float = Field(
        30.0, ge=0.5, le=3600, description="seconds without a heartbeat after which a job is taken"
    )
    beat_s: float = Field(
        5.0, ge=0.1, le=600, description="seconds between heartbeats; at most a third of the lease"
    )
    retry_backoff_s: float = Field(
        5.0, ge=0, le=3600, description="wait before the first repeat; doubles with each"
    )
    threads: int = Field(
        0, ge=0, le=256, description="CPU threads of training; 0: all cores there are"
    )
    nice: int = Field(10, ge=0, le=19, description="niceness of the training process")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where training runs")
    jobs_per_child: int = Field(
        100, ge=1, le=1_000_000, description="jobs after which the training process is replaced"
    )
    max_upload_bytes: int = Field(
        4 << 30, ge=1, le=1 << 50, description="largest data set, in bytes"
    )
    max_parameters: int = Field(
        1_000_000_000, ge=1, le=1 << 40, description="most parameters of a network"
    )
    max_memory_bytes: int = Field(
        16 << 30, ge=1 << 20, le=1 << 50, description="largest memory estimate of a job"
    )
    max_queued_jobs: int = Field(
        10_000, ge=1, le=10_000_000, description="most jobs that wait, per tenant"
    )
    max_watch_streams: int = Field(
        64, ge=1, le=10_000, description="most open WatchTrainingJob streams, per principal"
    )
    keep_versions: int = Field(
        0, ge=0, le=1_000_000, description="newest versions kept of a model, beside aliased; 0: all"
    )
    keep_jobs_days: float = Field(
        30.0, ge=1, le=36_500, description="days that jobs are kept after their end"
    )
    collect_grace_s: float = Field(
        86_400.0,
        ge=60,
        le=31_536_000,
        description="seconds that what is of no use stays: withdrawn, abandoned, half-written",
    )
    collect_interval_s: float = Field(
        3_600.0,
        ge=0,
        le=604_800,
        description="about so many seconds between two collections by the API's process; 0: none",
    )

    @property
    def job_policy(self) -> jobs.Policy:
        """What the queue goes by."""
        return jobs.Policy(
            lease_ms=int(self.lease_s * 1000),
            retry_backoff_ms=int(self.retry_backoff_s * 1000),
            max_queued_jobs=self.max_queued_jobs,
        )

    @property
    def collector_policy(self) -> collector.Policy:
        """What stays in the store."""
        return collector.Policy(
            keep_versions=self.keep_versions,
            keep_jobs_ms=int(self.keep_jobs_days * 86_400_000),
            grace_ms=int(self.collect_grace_s * 1000),
        )


class InfererSettings(CommonSettings):
    """The inferer's settings."""

    infer_address: InferAddress = Field(
        "127.0.0.1:8001", description="HOST:PORT of inference, or unix:PATH"
    )
    transport: Literal["grpcio", "native"] = Field("grpcio", description="the gRPC implementation")
    reflection: bool = Field(
        default=False, description="whether tools such as grpcurl may ask for the protos"
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file of the inference port's certificate chain; without: no TLS"
    )
    tls_key: Path | None = Field(None, description="PEM file of its key")
    tls_client_ca: Path | None = Field(
        None, description="PEM file of CAs; callers must show a certificate of theirs"
    )
    poll_interval_s: float = Field(
        2.0, ge=0.05, le=3600, description="seconds between looks at the store without Redis"
    )
    # Not model_config: pydantic has that name for itself.
    max_batch_size: int = Field(
        1024, ge=1, le=1_000_000, description="most rows of a batch and of a request"
    )
    max_queue_size: int = Field(
        16_384, ge=1, le=100_000_000, description="most rows that wait, per model version"
    )
    max_queue_delay_microseconds: int = Field(
        0, ge=0, le=10_000_000, description="how long a request may wait for others"
    )
    models_file: str = Field(
        "", description="TOML file with settings of single models (docs/serving.md); empty: none"
    )
    max_message_bytes: int = Field(
        64 << 20, ge=1024, le=(1 << 31) - 1, description="largest request, in bytes"
    )
    infer_device: Literal["cpu", "cuda"] = Field(
        "cpu", description="where networks are served; small ones are fastest on the CPU"
    )
    infer_threads: int = Field(1, ge=1, le=256, description="CPU threads of one forward pass")
    memory_budget_bytes: int = Field(
        0, ge=0, le=1 << 50, description="what all loaded versions together may take; 0: no limit"
    )
    infer_compile: bool = Field(
        default=False, description="whether networks are compiled too, while they serve already"
    )


Settings = TypeVar("Settings", bound=CommonSettings)


def read(kind: type[Settings]) -> Settings:
    """The settings from the environment; raises UnusableSettings.

    Raises:
        UnusableSettings: a variable's value is not allowed, or an address is reachable from other
            machines without TWOFOLD_INSECURE=i-know.
    """
    try:
        settings = cast("Callable[[], Settings]", kind)()  # every field comes from the environment
    except ValidationError as error:
        raise UnusableSettings(_explain(kind, error)) from error
    for field in ("train_address", "infer_address", "metrics_address"):
        _check_exposure(field, getattr(settings, field, None))
    _check_beat(settings)
    return settings


def _explain(kind: type[CommonSettings], error: ValidationError) -> str:
    lines: list[str] = []
    for problem in error.errors():
        field = str(problem["loc"][0]) if problem["loc"] else "?"
        meaning = kind.model_fields[field].description if field in kind.model_fields else ""
        lines.append(
            f"TWOFOLD_{field.upper()} is {str(problem['input'])[:100]!r}: "
            f"{problem['msg'].lower()} ({meaning})"
        )
    return "\n".join(lines)


def is_insecure_accepted() -> bool:
    """Whether the operator said that exposure without TLS and tokens is meant."""
    return os.environ.get(INSECURE_VARIABLE) == INSECURE_VALUE


def _check_exposure(field: str, address: str | None) -> None:
    if address is None or is_loopback(address) or is_insecure_accepted():
        return
    raise UnusableSettings(
        f"TWOFOLD_{field.upper()} is {address!r}: other machines could reach it without TLS and "
        f"tokens; use 127.0.0.1, or set {INSECURE_VARIABLE}={INSECURE_VALUE} where the network "
        "itself is closed"
    )


def _check_beat(settings: CommonSettings) -> None:
    if isinstance(settings, TrainerSettings) and settings.beat_s * 3 > settings.lease_s:
        raise UnusableSettings(
            f"TWOFOLD_BEAT_S is {settings.beat_s}: allowed is at most a third of TWOFOLD_LEASE_S "
            f"({settings.lease_s}), so that two lost heartbeats cost no job"
        )
