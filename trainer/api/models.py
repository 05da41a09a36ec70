"""ModelService: models, versions, aliases and withdrawals, read from the store alone."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from trainer.api import paging
from trainer.api.desk import Desk
from trainer.api.downloads import Downloads, Stored, find
from twofold import names, reference, versions
from twofold.errors import InvalidField, NotFound, Unavailable
from twofold.principal import Principal
from twofold.rollback import Rollback, roll_back
from twofold.store import Store
from twofold.v1 import model_pb2
from twofold.versions import VersionState

logger = logging.getLogger(__name__)

_LATEST = "latest"
#: "models", name, "versions", version.
_VERSION_PARTS = 4
#: Digits of 2^62; longer ones are no version of ours.
_MAX_DIGITS = 19


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model's visible versions, ascending, and its aliases."""

    name: str
    versions: list[VersionState]
    aliases: dict[str, int]

    def describe(self) -> model_pb2.Model:
        """The model as users see it."""
        return model_pb2.Model(
            name=f"models/{self.name}",
            current_version=versions.current_version(self.versions) or 0,
            aliases=self.aliases,
            version_count=len(self.versions),
        )

    def resolve(self, version: str) -> VersionState:
        """The version meant by a number, an alias or "latest"; raises NotFound."""
        number = self._number(version)
        for state in self.versions:
            if state.number == number:
                return state
        available = ", ".join(str(state.number) for state in self.versions[-10:])
        resource = f"models/{self.name}/versions/{version}"
        text = f"there is no {resource}; the newest versions are {available}"
        raise NotFound(text, resource=resource, available=available)

    def _number(self, version: str) -> int | None:
        if version == _LATEST:
            return versions.current_version(self.versions)
        if version.isascii() and version.isdigit():
            return int(version) if len(version) <= _MAX_DIGITS else None
        return self.aliases.get(names.check_alias("name", version))


def pinned(store: Store, tenant: str, name: str) -> str:
    """MODEL@VERSION of what MODEL, MODEL@VERSION or MODEL@ALIAS means now. Blocks.

    Raises:
        InvalidField: it is none of these.
        NotFound: there is no such visible version.
    """
    asked = reference.checked("network.warm_start", name)
    found = view_model(store, tenant, asked.model).resolve(str(asked.selector))
    return f"{asked.model}@{found.number}"


def view_model(store: Store, tenant: str, name: str) -> ModelView:
    """Reads a model; raises NotFound where no version is visible."""
    visible = versions.visible_versions(store, tenant, name)
    if not visible:
        resource = f"models/{name}"
        raise NotFound(f"there is no {resource}; train it first", resource=resource)
    return ModelView(name, visible, versions.read_aliases(store, tenant, name))


def describe_version(
    store: Store, tenant: str, view: ModelView, state: VersionState
) -> model_pb2.ModelVersion:
    """A version with its manifest; raises NotFound, Corrupt."""
    manifest, sha256 = versions.read_manifest(store, tenant, view.name, state.number)
    return model_pb2.ModelVersion(
        name=f"models/{view.name}/versions/{state.number}",
        manifest=manifest,
        withdrawn=state.withdrawn,
        aliases=sorted(alias for alias, number in view.aliases.items() if number == state.number),
        manifest_sha256=sha256,
    )


class ModelApi:
    """Handlers of ModelService; see protos/twofold/v1/model.proto. Store calls run on threads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._downloads = Downloads(desk)

    async def ListModels(
        self, request: model_pb2.ListModelsRequest, principal: Principal
    ) -> model_pb2.ListModelsResponse:
        """A page by name."""
        size = paging.page_size(request.page_size)
        after = paging.decode_token(request.page_token)
        return await asyncio.to_thread(self._list_models, principal.tenant, size, after)

    def _list_models(self, tenant: str, size: int, after: str) -> model_pb2.ListModelsResponse:
        found = versions.model_names(self._desk.store, tenant)
        page, has_more = paging.cut(
            [name for name in found if name > after],
            size,
            lambda name: view_model(self._desk.store, tenant, name).describe(),
        )
        last = page[-1].name.removeprefix("models/") if page else ""
        token = paging.encode_token(last) if has_more else ""
        return model_pb2.ListModelsResponse(models=page, next_page_token=token)

    async def GetModel(
        self, request: model_pb2.GetModelRequest, principal: Principal
    ) -> model_pb2.GetModelResponse:
        """Reads one model."""
        name = _model_name("name", request.name)
        view = await asyncio.to_thread(view_model, self._desk.store, principal.tenant, name)
        return model_pb2.GetModelResponse(model=view.describe())

    async def ListModelVersions(
        self, request: model_pb2.ListModelVersionsRequest, principal: Principal
    ) -> model_pb2.ListModelVersionsResponse:
        """A page, newest first."""
        name = _model_name("parent", request.parent)
        size = paging.page_size(request.page_size)
        before = _before(request.page_token)
        return await asyncio.to_thread(self._list_versions, principal.tenant, name, size, before)

    def _list_versions(
        self, tenant: str, name: str, size: int, before: int | None
    ) -> model_pb2.ListModelVersionsResponse:
        store = self._desk.store
        view = view_model(store, tenant, name)
        following = [
            state for state in reversed(view.versions) if before is None or state.number < before
        ]
        page, has_more = paging.cut(
            following, size, lambda state: describe_version(store, tenant, view, state)
        )
        token = paging.encode_token(page[-1].name.rpartition("/")[2]) if has_more else ""
        return model_pb2.ListModelVersionsResponse(model_versions=page, next_page_token=token)

    async def GetModelVersion(
        self, request: model_pb2.GetModelVersionRequest, principal: Principal
    ) -> model_pb2.GetModelVersionResponse:
        """Reads one version by number, alias or "latest"."""
        name, version = split_version_name(request.name)
        found = await asyncio.to_thread(self._read_version, principal.tenant, name, version)
        return model_pb2.GetModelVersionResponse(model_version=found)

    def _read_version(self, tenant: str, name: str, version: str) -> model_pb2.ModelVersion:
        view = view_model(self._desk.store, tenant, name)
        return describe_version(self._desk.store, tenant, view, view.resolve(version))

    async def SetModelAlias(
        self, request: model_pb2.SetModelAliasRequest, principal: Principal
    ) -> model_pb2.SetModelAliasResponse:
        """Moves an alias, durably, and tells the inferers."""
        name = _model_name("model", request.model)
        names.check_alias("alias", request.alias)
        if request.version < 1:
            raise InvalidField.of("version", request.version, "a version's number, from 1")
        view = await asyncio.to_thread(self._set_alias, principal, name, request)
        await self._announce(principal)
        return model_pb2.SetModelAliasResponse(model=view.describe())

    def _set_alias(
        self, principal: Principal, name: str, request: model_pb2.SetModelAliasRequest
    ) -> ModelView:
        store = self._desk.store
        versions.set_alias(store, self._desk.clock, principal, name, request.alias, request.version)
        return view_model(store, principal.tenant, name)

    async def WithdrawModelVersion(
        self, request: model_pb2.WithdrawModelVersionRequest, principal: Principal
    ) -> model_pb2.WithdrawModelVersionResponse:
        """Withdraws a version, durably, and tells the inferers."""
        name, version = split_version_name(request.name)
        if not version.isdigit():
            raise InvalidField.of("name", request.name, "models/MODEL/versions/NUMBER")
        found = await asyncio.to_thread(self._withdraw, principal, name, version)
        await self._announce(principal)
        return model_pb2.WithdrawModelVersionResponse(model_version=found)

    def _withdraw(self, principal: Principal, name: str, version: str) -> model_pb2.ModelVersion:
        store = self._desk.store
        number = view_model(store, principal.tenant, name).resolve(version).number
        versions.withdraw(store, self._desk.clock, principal, name, number)
        return self._read_version(principal.tenant, name, version)

    async def RollbackModel(
        self, request: model_pb2.RollbackModelRequest, principal: Principal
    ) -> model_pb2.RollbackModelResponse:
        """Withdraws the default version once, durably, and tells the inferers."""
        name = _model_name("name", request.name)
        if request.version < 0:
            allowed = "a version's number, or 0 for the one that is served by default"
            raise InvalidField.of("version", request.version, allowed)
        done, view = await asyncio.to_thread(self._roll_back, principal, name, request.version)
        await self._announce(principal)
        return model_pb2.RollbackModelResponse(
            withdrawn=f"models/{name}/versions/{done.number}",
            model=view.describe(),
            changed=done.is_new,
            principal=done.record.principal,
            withdraw_time=done.record.create_time,
        )

    def _roll_back(
        self, principal: Principal, name: str, version: int
    ) -> tuple[Rollback, ModelView]:
        store = self._desk.store
        done = roll_back(store, self._desk.clock, principal, name, version)
        return done, view_model(store, principal.tenant, name)

    async def DownloadModelFile(
        self, request: model_pb2.DownloadModelFileRequest, principal: Principal
    ) -> AsyncGenerator[model_pb2.DownloadModelFileResponse]:
        """Sends a file of a version."""
        name, version = split_version_name(request.name)
        stored = await asyncio.to_thread(
            self._find_file, principal.tenant, (name, version), request.file
        )
        async with aclosing(
            self._downloads.stream(principal, stored, request.offset_bytes)
        ) as messages:
            async for message in messages:
                yield message

    def _find_file(self, tenant: str, version: tuple[str, str], file: str) -> Stored:
        name, selector = version
        number = view_model(self._desk.store, tenant, name).resolve(selector).number
        return find(self._desk.store, tenant, (name, number), file)

    async def _announce(self, principal: Principal) -> None:
        """The change is durable already; inferers also learn of it when the queue is back."""
        try:
            await self._desk.ledger.announce_versions(principal.tenant)
        except Unavailable as error:
            logger.warning("change not announced", extra={"why": error.message})


def split_version_name(name: str) -> tuple[str, str]:
    """("digits", "3") of "models/digits/versions/3"; raises InvalidField."""
    parts = name.split("/")
    if len(parts) != _VERSION_PARTS or (parts[0], parts[2]) != ("models", "versions"):
        raise InvalidField.of("name", name, "models/MODEL/versions/VERSION")
    version = parts[3]
    if version != _LATEST and not (version.isascii() and version.isdigit()):
        names.check_alias("name", version)
    return names.check_name("name", parts[1]), version


def _model_name(field: str, name: str) -> str:
    return names.check_name(field, names.resource_id(field, name, "models"))


def _before(page_token: str) -> int | None:
    position = paging.decode_token(page_token)
    if not position:
        return None
    if not position.isascii() or not position.isdigit() or len(position) > _MAX_DIGITS:
        raise InvalidField.of("page_token", page_token, "next_page_token of the page before")
    return int(position)
