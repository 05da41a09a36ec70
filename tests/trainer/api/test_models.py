"""Models as users see them: visible versions, aliases, withdrawals."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.trainer.api.serving import Served, error_of, serving
from trainer.api import paging
from twofold import errors, keys, manifest
from twofold.errors import Unavailable
from twofold.v1 import model_pb2, model_pb2_grpc


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as served:
        yield served


def stub_of(api: Served) -> "model_pb2_grpc.ModelServiceAsyncStub":
    return model_pb2_grpc.ModelServiceStub(api.channel)


def publish(api: Served, name: str, *numbers: int) -> None:
    for number in numbers:
        made = model_pb2.Manifest(format_version=1, model=name, version=number)
        made.metrics["accuracy"] = 0.5
        key = keys.version_manifest("local", name, number)
        api.store.create(key, manifest.encode(made))


async def get(api: Served, name: str) -> model_pb2.ModelVersion:
    request = model_pb2.GetModelVersionRequest(name=name)
    return (await stub_of(api).GetModelVersion(request)).model_version


async def set_alias(api: Served, alias: str, version: int) -> model_pb2.Model:
    request = model_pb2.SetModelAliasRequest(model="models/m", alias=alias, version=version)
    return (await stub_of(api).SetModelAlias(request)).model


async def withdraw(api: Served, version: int) -> model_pb2.ModelVersion:
    request = model_pb2.WithdrawModelVersionRequest(name=f"models/m/versions/{version}")
    return (await stub_of(api).WithdrawModelVersion(request)).model_version


async def test_a_model_shows_its_current_version_and_aliases(api: Served) -> None:
    publish(api, "m", 1, 2, 5)
    await set_alias(api, "stable", 2)
    model = (await stub_of(api).GetModel(model_pb2.GetModelRequest(name="models/m"))).model

    assert model.name == "models/m"
    assert (model.current_version, model.version_count) == (5, 3)
    assert dict(model.aliases) == {"stable": 2}


async def test_a_version_is_found_by_number_alias_and_latest(api: Served) -> None:
    publish(api, "m", 1, 2)
    await set_alias(api, "stable", 1)

    by_alias = await get(api, "models/m/versions/stable")
    assert by_alias == await get(api, "models/m/versions/1")
    assert by_alias.name == "models/m/versions/1"
    assert list(by_alias.aliases) == ["stable"]
    assert by_alias.manifest.metrics["accuracy"] == 0.5
    assert len(by_alias.manifest_sha256) == 64
    assert (await get(api, "models/m/versions/latest")).name == "models/m/versions/2"


async def test_a_withdrawn_version_is_current_no_more_but_stays_readable(api: Served) -> None:
    publish(api, "m", 1, 2)
    for _ in range(2):
        assert (await withdraw(api, 2)).withdrawn

    assert (await get(api, "models/m/versions/latest")).name == "models/m/versions/1"
    assert (await get(api, "models/m/versions/2")).withdrawn
    await withdraw(api, 1)
    request = model_pb2.GetModelVersionRequest(name="models/m/versions/latest")
    assert isinstance(await error_of(stub_of(api).GetModelVersion(request)), errors.NotFound)


async def rollback(api: Served, version: int = 0) -> model_pb2.RollbackModelResponse:
    request = model_pb2.RollbackModelRequest(name="models/m", version=version)
    return await stub_of(api).RollbackModel(request)


async def test_a_rollback_tells_what_went_what_serves_and_who_did_it(api: Served) -> None:
    publish(api, "m", 1, 2, 3)
    first, again, named = await rollback(api), await rollback(api), await rollback(api, 3)

    assert (first.withdrawn, first.changed) == ("models/m/versions/3", True)
    assert (first.model.current_version, first.model.version_count) == (2, 3)
    assert (first.principal, first.withdraw_time.seconds > 0) == ("local", True)
    first.changed = False
    assert first == again == named
    assert api.ledger.announced == ["local"] * 3, "the first one's may have been lost"
    assert (await rollback(api, 2)).model.current_version == 1


async def test_a_rollback_to_nothing_is_refused(api: Served) -> None:
    publish(api, "m", 1)
    error = await error_of(rollback(api))

    assert isinstance(error, errors.WrongState)
    assert "no version before 1 can serve" in error.message
    assert (await get(api, "models/m/versions/latest")).name == "models/m/versions/1"


async def test_operators_at_once_roll_back_once(api: Served) -> None:
    publish(api, "m", 1, 2, 3)
    answers = await asyncio.gather(*(rollback(api) for _ in range(8)))

    assert [answer.changed for answer in answers].count(True) == 1
    assert {answer.withdrawn for answer in answers} == {"models/m/versions/3"}
    assert {answer.model.current_version for answer in answers} == {2}


async def test_changes_are_announced_and_count_without_the_announcement(api: Served) -> None:
    publish(api, "m", 1, 2)
    await set_alias(api, "stable", 1)
    await withdraw(api, 2)
    assert api.ledger.announced == ["local", "local"]

    api.ledger.error = Unavailable("away")
    assert dict((await set_alias(api, "stable", 2)).aliases) == {"stable": 2}


async def test_models_are_listed_by_name_page_by_page(api: Served) -> None:
    for name in ("b", "c", "a"):
        publish(api, name, 1)
    api.store.make_folder(keys.version("local", "unpublished", 1))
    request = model_pb2.ListModelsRequest(page_size=2)
    first = await stub_of(api).ListModels(request)
    request.page_token = first.next_page_token
    second = await stub_of(api).ListModels(request)

    assert [model.name for model in first.models] == ["models/a", "models/b"]
    assert [model.name for model in second.models] == ["models/c"]
    assert second.next_page_token == ""


async def test_versions_are_listed_newest_first_page_by_page(api: Served) -> None:
    publish(api, "m", 1, 2, 10)
    request = model_pb2.ListModelVersionsRequest(parent="models/m", page_size=2)
    first = await stub_of(api).ListModelVersions(request)
    request.page_token = first.next_page_token
    second = await stub_of(api).ListModelVersions(request)

    assert [found.manifest.version for found in first.model_versions] == [10, 2]
    assert [found.manifest.version for found in second.model_versions] == [1]
    assert second.next_page_token == ""


async def test_no_models_are_an_empty_page(api: Served) -> None:
    answer = await stub_of(api).ListModels(model_pb2.ListModelsRequest())

    assert answer == model_pb2.ListModelsResponse()


@pytest.mark.parametrize("version", ["3", "0", "007", "9" * 40, "unknown", "1" * 19])
async def test_an_unknown_version_is_not_found_and_says_what_there_is(
    api: Served, version: str
) -> None:
    publish(api, "m", 1, 2)
    request = model_pb2.GetModelVersionRequest(name=f"models/m/versions/{version}")
    error = await error_of(stub_of(api).GetModelVersion(request))

    assert isinstance(error, errors.NotFound)
    assert error.fields["available"] == "1, 2"


async def test_an_unknown_model_is_not_found(api: Served) -> None:
    stub = stub_of(api)
    for call in (
        stub.GetModel(model_pb2.GetModelRequest(name="models/m")),
        stub.ListModelVersions(model_pb2.ListModelVersionsRequest(parent="models/m")),
        stub.GetModelVersion(model_pb2.GetModelVersionRequest(name="models/m/versions/1")),
        stub.SetModelAlias(
            model_pb2.SetModelAliasRequest(model="models/m", alias="stable", version=1)
        ),
        stub.WithdrawModelVersion(
            model_pb2.WithdrawModelVersionRequest(name="models/m/versions/1")
        ),
    ):
        assert isinstance(await error_of(call), errors.NotFound)


async def test_what_is_no_name_is_refused(api: Served) -> None:
    publish(api, "m", 1)
    stub = stub_of(api)
    token = paging.encode_token("../../etc")
    for call in (
        stub.GetModel(model_pb2.GetModelRequest(name="models/../x")),
        stub.GetModel(model_pb2.GetModelRequest(name="m")),
        stub.ListModelVersions(model_pb2.ListModelVersionsRequest(parent="models/M")),
        stub.ListModelVersions(
            model_pb2.ListModelVersionsRequest(parent="models/m", page_token=token)
        ),
        stub.GetModelVersion(model_pb2.GetModelVersionRequest(name="models/m/1")),
        stub.GetModelVersion(model_pb2.GetModelVersionRequest(name="models/m/versions/../x")),
        stub.GetModelVersion(model_pb2.GetModelVersionRequest(name="models/m/versions/²")),
        stub.SetModelAlias(
            model_pb2.SetModelAliasRequest(model="models/m", alias="latest", version=1)
        ),
        stub.SetModelAlias(model_pb2.SetModelAliasRequest(model="models/m", alias="3", version=1)),
        stub.SetModelAlias(
            model_pb2.SetModelAliasRequest(model="models/m", alias="stable", version=0)
        ),
        stub.WithdrawModelVersion(
            model_pb2.WithdrawModelVersionRequest(name="models/m/versions/latest")
        ),
        stub.RollbackModel(model_pb2.RollbackModelRequest(name="m")),
        stub.RollbackModel(model_pb2.RollbackModelRequest(name="models/m", version=-1)),
    ):
        assert isinstance(await error_of(call), errors.InvalidField)
