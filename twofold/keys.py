"""Where everything stands in the store: the one place that spells its layout.

A key is a relative path of checked names, "/" between them; the tenant comes first.
"""


def identity() -> str:
    """The store's name for itself, for all tenants; see `twofold.identity`."""
    return "identity"


def datasets(tenant: str) -> str:
    """The folder of all data sets."""
    return f"{tenant}/datasets"


def dataset_file(tenant: str, sha256: str) -> str:
    """The uploaded bytes."""
    return f"{tenant}/datasets/{sha256}/data"


def dataset_record(tenant: str, sha256: str) -> str:
    """What it is: twofold.v1.Dataset in JSON. Written last: there if and only if it is visible."""
    return f"{tenant}/datasets/{sha256}/dataset.json"


def upload_part(tenant: str, sha256: str) -> str:
    """What has come so far of a file, where the store's own temporary files stand."""
    return f"tmp/{tenant}.{sha256}.part"


def upload_lock(tenant: str, sha256: str) -> str:
    """Held by whoever writes to a part or to the file's data set; see `twofold.locks`."""
    return f"tmp/{tenant}.{sha256}.lock"


def collector_lock(tenant: str) -> str:
    """Held by whoever removes what is of no use any more."""
    return f"tmp/{tenant}.collector.lock"


def requests(tenant: str) -> str:
    """The folder of all bindings of requests."""
    return f"{tenant}/requests"


def request(tenant: str, request_id: str) -> str:
    """twofold.internal.v1.RequestRecord; its exclusive create binds a request to one job."""
    return f"{tenant}/requests/{request_id}"


def jobs(tenant: str) -> str:
    """The folder of all jobs."""
    return f"{tenant}/jobs"


def job(tenant: str, job_id: str) -> str:
    """A job's folder."""
    return f"{tenant}/jobs/{job_id}"


def job_spec(tenant: str, job_id: str) -> str:
    """twofold.internal.v1.JobRecord."""
    return f"{tenant}/jobs/{job_id}/spec.pb"


def job_cancel(tenant: str, job_id: str) -> str:
    """Exists once cancellation was asked for."""
    return f"{tenant}/jobs/{job_id}/cancel"


def job_outcome(tenant: str, job_id: str) -> str:
    """twofold.internal.v1.JobOutcome; its exclusive create decides how the job ended."""
    return f"{tenant}/jobs/{job_id}/outcome"


def job_series(tenant: str, job_id: str) -> str:
    """The metric series of a job that has ended; see `twofold.series_files`."""
    return f"{tenant}/jobs/{job_id}/metrics.jsonl"


def job_tensorboard(tenant: str, job_id: str) -> str:
    """The folder with one TensorBoard event file per attempt."""
    return f"{tenant}/jobs/{job_id}/tensorboard"


def job_checkpoints(tenant: str, job_id: str) -> str:
    """The folder with one folder of checkpoints per attempt."""
    return f"{tenant}/jobs/{job_id}/checkpoints"


def attempt_checkpoints(tenant: str, job_id: str, attempt: str) -> str:
    """The folder an attempt writes checkpoints to."""
    return f"{tenant}/jobs/{job_id}/checkpoints/{attempt}"


def attempt_series(tenant: str, job_id: str, attempt: str) -> str:
    """The metric series as an attempt knows it, beside its checkpoints."""
    return f"{tenant}/jobs/{job_id}/checkpoints/{attempt}/metrics.jsonl"


def attempt_artifact(tenant: str, job_id: str, attempt: str) -> str:
    """The folder an attempt exports to before it has a version's number."""
    return f"{tenant}/jobs/{job_id}/artifacts/{attempt}"


def models(tenant: str) -> str:
    """The folder of all models."""
    return f"{tenant}/models"


def model(tenant: str, name: str) -> str:
    """A model's folder."""
    return f"{tenant}/models/{name}"


def version(tenant: str, name: str, number: int) -> str:
    """A version's folder; belongs to the attempt that its claim names."""
    return f"{tenant}/models/{name}/{number}"


def version_claim(tenant: str, name: str, number: int) -> str:
    """twofold.internal.v1.VersionClaim; its exclusive create takes the number."""
    return f"{tenant}/models/{name}/{number}/claim"


def version_staged(tenant: str, name: str, number: int) -> str:
    """The manifest before the outcome is decided."""
    return f"{tenant}/models/{name}/{number}/manifest.staged.json"


def version_manifest(tenant: str, name: str, number: int) -> str:
    """twofold.v1.Manifest in JSON; there if and only if the version is visible."""
    return f"{tenant}/models/{name}/{number}/manifest.json"


def version_withdrawn(tenant: str, name: str, number: int) -> str:
    """twofold.internal.v1.AliasRecord in JSON; there if the version was withdrawn."""
    return f"{tenant}/models/{name}/{number}/withdrawn.json"


def aliases(tenant: str, name: str) -> str:
    """The folder with one folder per alias."""
    return f"{tenant}/models/{name}/aliases"


def alias(tenant: str, name: str, alias_name: str, sequence: int) -> str:
    """twofold.internal.v1.AliasRecord in JSON; the highest sequence is current."""
    return f"{tenant}/models/{name}/aliases/{alias_name}/{sequence}.json"
