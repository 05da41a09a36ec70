"""What answers tell beside their outputs."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from inferer import told
from tests.inferer import artifacts
from tests.inferer.fakes import FakeClock, served
from tests.inferer.server import running, settings_for
from twofold.oip import inference_pb2 as pb
from twofold.store import LocalStore


def test_what_is_constant_names_version_manifest_and_job() -> None:
    loaded = served("m", 3, FakeClock())

    assert told.constants(loaded.manifest, loaded.manifest_sha256) == {
        "twofold_version": 3,
        "twofold_manifest_sha256": "sha of 3",
        "twofold_job": "jobs/J",
    }


def varying(queue_ns: int, compute_ns: int, batch_rows: int) -> dict[str, int]:
    """As a client reads them."""
    response = pb.ModelInferResponse.FromString(told.varying(queue_ns, compute_ns, batch_rows))
    return {name: value.int64_param for name, value in response.parameters.items()}


def test_what_varies_is_in_microseconds_and_rows() -> None:
    assert varying(1_999, 2_000, 5) == {
        "twofold_queue_us": 1,
        "twofold_compute_us": 2,
        "twofold_batch_rows": 5,
    }


def test_all_names_are_ours_and_differ() -> None:
    loaded = served("m", 3, FakeClock())
    constant, own = told.constants(loaded.manifest, "sha"), varying(0, 0, 0)

    assert not constant.keys() & own.keys()
    assert all(name.startswith("twofold_") for name in constant.keys() | own.keys())


@pytest.mark.parametrize("tells", [True, False])
async def test_answers_tell_where_they_come_from_unless_that_is_off(
    store: LocalStore, tmp_path: Path, *, tells: bool
) -> None:
    artifacts.put(store, "m", artifacts.constant(1))
    settings = settings_for(tmp_path / "store", response_parameters=tells)
    async with running(settings) as server:
        response = await server.infer("m", {"x": np.zeros((1, 2), np.float32)})

    manifest = store.path("local/models/m/1/manifest.json").read_bytes()
    parameters = {
        name: parameter.string_param or parameter.int64_param
        for name, parameter in response.parameters.items()
    }
    if not tells:
        assert parameters == {}
        return
    assert parameters.keys() == {
        *("twofold_version", "twofold_manifest_sha256", "twofold_job"),
        *("twofold_queue_us", "twofold_compute_us", "twofold_batch_rows"),
    }
    assert parameters["twofold_version"] == parameters["twofold_batch_rows"] == 1
    assert parameters["twofold_manifest_sha256"] == hashlib.sha256(manifest).hexdigest()
