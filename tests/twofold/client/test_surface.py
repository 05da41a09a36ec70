"""What importing costs, and that every RPC can be called."""

import subprocess
import sys

import grpc
import pytest

import twofold
from twofold import toml_spec
from twofold.client.calls import datasets, inference, jobs, models
from twofold.client.submission import spec_of
from twofold.oip import inference_pb2
from twofold.v1 import dataset_pb2, model_pb2, training_pb2

#: Answered by the server, but nothing that a request at a time does not do as well.
NOT_OFFERED = {"/inference.GRPCInferenceService/ModelStreamInfer"}


@pytest.mark.parametrize(
    "statement",
    [
        "import twofold",
        "import twofold.client",
        "from twofold import Client, AsyncClient",
        "import twofold.toml_spec",
        "import twofold.cli.app",
    ],
)
def test_import_brings_neither_torch_nor_a_server(statement: str) -> None:
    heavy = ["torch", "pyarrow", "redis", "prometheus_client", "pydantic", "trainer", "inferer"]
    heavy += ["matplotlib", "plotille"]
    code = f"{statement}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"

    found = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=25
    )

    assert found.stdout.strip() == "[]"


def test_importing_the_package_alone_brings_no_client() -> None:
    """The services import twofold, too."""
    code = "import twofold, sys; print('grpc' in sys.modules, 'numpy' in sys.modules)"

    found = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=25
    )

    assert found.stdout.strip() == "False False"


def test_package_has_its_clients_and_nothing_else() -> None:
    assert twofold.Client.__name__ == "Client"
    assert twofold.AsyncClient.__name__ == "AsyncClient"
    with pytest.raises(AttributeError, match="no attribute 'Klient'"):
        _ = twofold.Klient  # pyright: ignore[reportAttributeAccessIssue] - absent on purpose


def test_every_rpc_has_a_call_with_its_path() -> None:
    spec = spec_of(toml_spec.from_dict({}))
    calls = (
        jobs.create(spec, jobs.CreateOptions()),
        jobs.get("j"),
        jobs.list_page(jobs.JobFilter(), 1, ""),
        jobs.watch("j", ""),
        jobs.cancel("j"),
        jobs.retry("j", ""),
        jobs.metrics_page("j", None, 1, ""),
        datasets.upload(),
        datasets.committed_size("0" * 64),
        datasets.get("d"),
        datasets.list_page(1, ""),
        datasets.delete("d"),
        models.list_page(1, ""),
        models.get("m"),
        models.versions_page("m", 1, ""),
        models.version("m", 1),
        models.set_alias("m", "a", 1),
        models.withdraw("m", 1),
        models.rollback("m", 1),
        models.download("models/m/versions/1", "graph.pb", 0),
        inference.live(),
        inference.ready(),
        inference.model_ready("m", ""),
        inference.server_metadata(),
        inference.metadata("m", ""),
        inference.config("m", ""),
        inference.statistics("", ""),
        inference.index(is_ready=True),
        inference.infer("m", "", {}),
    )

    offered = {call.path for call in calls}
    assert len(offered) == len(calls)
    assert offered | NOT_OFFERED == rpcs()


def rpcs() -> set[str]:
    files = [training_pb2, dataset_pb2, model_pb2, inference_pb2]
    return {
        f"/{name}/{method}"
        for file in files
        for service in file.DESCRIPTOR.services_by_name.values()
        for name in [service.full_name.replace("twofold.oip", "inference")]
        for method in service.methods_by_name
    }


def test_errors_of_another_kind_are_kept() -> None:
    """What is no call at all, as interceptors may raise."""
    from twofold.client.retry import explain  # noqa: PLC0415 - for this test alone

    found = explain(grpc.RpcError("odd"), "the trainer")

    assert found.message == "odd"
