"""DatasetService: tables are uploaded, checked in a limited process, listed and deleted."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from trainer.api import paging, upload
from trainer.api.desk import Desk
from trainer.datasets import (
    add_dataset,
    list_datasets,
    need_dataset,
    position,
    read_dataset,
    remove_dataset,
)
from twofold.names import check_sha256, resource_id
from twofold.principal import Principal
from twofold.v1 import dataset_pb2


class CheckFile(Protocol):
    """Parses a file under limits; see trainer.checker."""

    async def __call__(
        self, path: Path, file_format: dataset_pb2.DatasetFormat
    ) -> dataset_pb2.Dataset:
        """Rows and columns; raises InvalidData."""
        ...


class DatasetApi:
    """Handlers of DatasetService; see protos/twofold/v1/dataset.proto."""

    def __init__(self, desk: Desk, check_file: CheckFile, max_upload_bytes: int) -> None:
        self._desk = desk
        self._store = desk.store
        self._check_file = check_file
        self._max_upload_bytes = max_upload_bytes

    async def UploadDataset(
        self, requests: AsyncIterator[dataset_pb2.UploadDatasetRequest], principal: Principal
    ) -> dataset_pb2.UploadDatasetResponse:
        """Receives, checks, makes durable; what is there already is answered at once."""
        header = await upload.receive_header(requests, self._max_upload_bytes)
        dataset = await asyncio.to_thread(
            read_dataset, self._store, principal.tenant, header.sha256
        )
        if dataset is None:
            dataset = await self._add(header, requests, principal)
        return dataset_pb2.UploadDatasetResponse(dataset=dataset)

    async def _add(
        self,
        header: dataset_pb2.UploadHeader,
        requests: AsyncIterator[dataset_pb2.UploadDatasetRequest],
        principal: Principal,
    ) -> dataset_pb2.Dataset:
        async with upload.receiving(self._store, principal.tenant, header) as incoming:
            await upload.receive_file(header, requests, incoming)
            checked = await self._check_file(incoming.path, header.format)
            dataset = dataset_pb2.Dataset()
            dataset.CopyFrom(checked)
            dataset.name = f"datasets/{header.sha256}"
            dataset.display_name = header.display_name
            dataset.format = header.format
            dataset.size_bytes = header.size_bytes
            dataset.create_time.FromMilliseconds(self._desk.clock.time_ms())
            return await asyncio.to_thread(
                add_dataset, self._store, principal.tenant, incoming.path, dataset
            )

    async def GetUpload(
        self, request: dataset_pb2.GetUploadRequest, principal: Principal
    ) -> dataset_pb2.GetUploadResponse:
        """How much of a file has come."""
        sha256 = check_sha256("sha256", request.sha256)
        size = await asyncio.to_thread(upload.committed_size, self._store, principal.tenant, sha256)
        return dataset_pb2.GetUploadResponse(committed_size_bytes=size)

    async def GetDataset(
        self, request: dataset_pb2.GetDatasetRequest, principal: Principal
    ) -> dataset_pb2.GetDatasetResponse:
        """Reads a record."""
        sha256 = _digest(request.name)
        dataset = await asyncio.to_thread(need_dataset, self._store, principal.tenant, sha256)
        return dataset_pb2.GetDatasetResponse(dataset=dataset)

    async def ListDatasets(
        self, request: dataset_pb2.ListDatasetsRequest, principal: Principal
    ) -> dataset_pb2.ListDatasetsResponse:
        """A page, newest first."""
        size = paging.page_size(request.page_size)
        after = paging.decode_token(request.page_token)
        datasets = await asyncio.to_thread(list_datasets, self._store, principal.tenant)
        following = [one for one in datasets if not after or position(one) < after]
        page, has_more = paging.cut(following, size, lambda dataset: dataset)
        token = paging.encode_token(position(page[-1])) if has_more else ""
        return dataset_pb2.ListDatasetsResponse(datasets=page, next_page_token=token)

    async def DeleteDataset(
        self, request: dataset_pb2.DeleteDatasetRequest, principal: Principal
    ) -> dataset_pb2.DeleteDatasetResponse:
        """Deletes, unless a live job needs it."""
        sha256 = _digest(request.name)
        with self._desk.usage.deleting(principal.tenant, sha256):
            await asyncio.to_thread(remove_dataset, self._store, principal.tenant, sha256)
        return dataset_pb2.DeleteDatasetResponse()


def _digest(name: str) -> str:
    return check_sha256("name", resource_id("name", name, "datasets"))
