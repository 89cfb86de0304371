"""The durable end of the line: verdicts into Redis, onto disk while Redis is away, each exactly once."""

from pipeline.store.durable import DurableStore, StoreCounters
from pipeline.store.records import Record, Stored
from pipeline.store.redis_store import RedisStore
from pipeline.store.spool.spool import Damage, Spool, SpoolFull

__all__ = ["Damage", "DurableStore", "Record", "RedisStore", "Spool", "SpoolFull", "StoreCounters", "Stored"]
