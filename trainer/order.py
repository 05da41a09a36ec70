"""What the child is told to train, as paths and numbers."""

from trainer.datasets import need_dataset
from trainer.site import thread_count
from twofold import keys
from twofold.config import TrainerSettings
from twofold.internal.v1 import child_pb2
from twofold.lifecycle import Claim
from twofold.names import TRUTH_TABLES
from twofold.store import Store

_DEVICES = {"auto": "", "cpu": "cpu", "cuda": "cuda:0"}


def order_for(store: Store, claim: Claim, settings: TrainerSettings) -> child_pb2.TrainRequest:
    """The request for an attempt; makes its folders. Blocks.

    Raises:
        NotFound: the data set was deleted.
        StoreError: the store cannot be used.
    """
    tenant, job_id, attempt = claim.tenant, claim.job.id, claim.attempt
    order = child_pb2.TrainRequest(
        job=job_id,
        attempt=attempt,
        spec=claim.record.spec,
        threads=thread_count(settings.threads),
        device=_DEVICES[settings.device],
        store_path=str(store.path(keys.identity()).parent.absolute()),
        tenant=tenant,
    )
    sha256 = claim.record.spec.data.dataset
    if sha256 not in TRUTH_TABLES:
        order.data_format = need_dataset(store, tenant, sha256).format
        order.data_path = str(store.path(keys.dataset_file(tenant, sha256)).absolute())
    if weights := claim.record.spec.network.weights:
        need_dataset(store, tenant, weights)
        order.weights_path = str(store.path(keys.dataset_file(tenant, weights)).absolute())
    if claim.resume_path:
        order.resume_path = str(store.path(claim.resume_path).absolute())
    checkpoints = store.make_folder(keys.attempt_checkpoints(tenant, job_id, attempt))
    artifact = store.make_folder(keys.attempt_artifact(tenant, job_id, attempt))
    if claim.record.spec.training.tensorboard:
        events = store.make_folder(keys.job_tensorboard(tenant, job_id))
        order.tensorboard_path = str(events.absolute())
    order.checkpoint_path = str(checkpoints.absolute())
    order.artifact_path = str(artifact.absolute())
    return order
