"""The queue of live jobs, in Redis or Valkey. The only package that imports `redis`."""

from twofold.queue.follow import follow_versions
from twofold.queue.redis_queue import Depth, Entry, RedisQueue, Requested, Snapshot

__all__ = ["Depth", "Entry", "RedisQueue", "Requested", "Snapshot", "follow_versions"]
