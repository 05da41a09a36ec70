"""The client library: numpy in and out, blocking and asyncio, without torch or pyarrow.

Source of its servers' contract: protos/twofold/v1 and the Open Inference Protocol.
"""

from twofold.client.aio.client import AsyncClient
from twofold.client.aio.jobs import AsyncJobHandle
from twofold.client.blocking.client import Client
from twofold.client.blocking.jobs import JobHandle
from twofold.client.calls.jobs import CreateOptions, JobFilter
from twofold.client.channels import Connection
from twofold.client.following import TERMINAL_STATES, JobEvent, JobFailed
from twofold.client.predictions import Prediction, Signature
from twofold.client.pulling import Pulled
from twofold.client.retry import RetryPolicy
from twofold.client.submission import Spec
from twofold.client.uploads import Upload
from twofold.series import MetricPoint

__all__ = [
    "TERMINAL_STATES",
    "AsyncClient",
    "AsyncJobHandle",
    "Client",
    "Connection",
    "CreateOptions",
    "JobEvent",
    "JobFailed",
    "JobFilter",
    "JobHandle",
    "MetricPoint",
    "Prediction",
    "Pulled",
    "RetryPolicy",
    "Signature",
    "Spec",
    "Upload",
]
