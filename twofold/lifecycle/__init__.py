"""The life of training jobs, over the store (the truth) and the queue (what is live)."""

from twofold.lifecycle.attempts import Attempts
from twofold.lifecycle.core import Claim
from twofold.lifecycle.patrol import Patrol
from twofold.lifecycle.reconcile import Reconciled, Reconciler
from twofold.lifecycle.requests import Requests
from twofold.queue import Depth

__all__ = ["Claim", "Depth", "Ledger", "Reconciled"]


class Ledger(Requests, Attempts, Patrol, Reconciler):
    """What the services use: `Requests` for users, `Attempts` for workers, the rest for both.

    Every call may raise errors.Unavailable while the queue's server is away, or StoreError, which
    is one too; every call is safe to repeat then.
    """
