"""What answers tell beside their outputs."""

from inferer import told
from tests.inferer.fakes import FakeClock, served


def test_what_is_constant_names_version_manifest_and_job() -> None:
    loaded = served("m", 3, FakeClock())

    assert told.constants(loaded.manifest, loaded.manifest_sha256) == {
        "twofold_version": 3,
        "twofold_manifest_sha256": "sha of 3",
        "twofold_job": "jobs/J",
    }


def test_what_varies_is_in_microseconds_and_rows() -> None:
    assert told.varying(1_999, 2_000, 5) == {
        "twofold_queue_us": 1,
        "twofold_compute_us": 2,
        "twofold_batch_rows": 5,
    }


def test_all_names_are_ours_and_differ() -> None:
    loaded = served("m", 3, FakeClock())
    constant, varying = told.constants(loaded.manifest, "sha"), told.varying(0, 0, 0)

    assert not constant.keys() & varying.keys()
    assert all(name.startswith("twofold_") for name in constant.keys() | varying.keys())
