"""The calls of DatasetService."""

from twofold.client.calls.call import UPLOAD_TIMEOUT_S, Call, Page, named, to_trainer
from twofold.v1 import dataset_pb2 as pb

_SERVICE = "/twofold.v1.DatasetService/"


def upload() -> Call[pb.Dataset]:
    """Sends a file; what is sent is a stream, see twofold.client.uploads."""
    return to_trainer(
        _SERVICE + "UploadDataset",
        pb.UploadDatasetRequest(),
        lambda data: pb.UploadDatasetResponse.FromString(data).dataset,
        UPLOAD_TIMEOUT_S,
    )


def committed_size(sha256: str) -> Call[int]:
    """Reads how many bytes of a file have come."""
    return to_trainer(
        _SERVICE + "GetUpload",
        pb.GetUploadRequest(sha256=sha256),
        lambda data: pb.GetUploadResponse.FromString(data).committed_size_bytes,
    )


def get(dataset: str) -> Call[pb.Dataset]:
    """Reads a data set's description."""
    request = pb.GetDatasetRequest(name=named("datasets", dataset))
    return to_trainer(
        _SERVICE + "GetDataset",
        request,
        lambda data: pb.GetDatasetResponse.FromString(data).dataset,
    )


def list_page(size: int, token: str) -> Call[Page[pb.Dataset]]:
    """Reads part of the list of data sets, newest first."""
    request = pb.ListDatasetsRequest(page_size=size, page_token=token)
    return to_trainer(_SERVICE + "ListDatasets", request, _page)


def _page(data: bytes) -> Page[pb.Dataset]:
    answer = pb.ListDatasetsResponse.FromString(data)
    return Page(list(answer.datasets), answer.next_page_token)


def delete(dataset: str) -> Call[None]:
    """Deletes a data set."""
    request = pb.DeleteDatasetRequest(name=named("datasets", dataset))
    return to_trainer(_SERVICE + "DeleteDataset", request, lambda _: None)
