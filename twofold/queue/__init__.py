"""The queue of live jobs, in Redis or Valkey. The only package that imports `redis`."""

from twofold.queue.follow import follow_versions
from twofold.queue.redis_queue import Depth, Entry, Origin, RedisQueue, Snapshot

__all__ = ["Depth", "Entry", "Origin", "RedisQueue", "Snapshot", "follow_versions"]
