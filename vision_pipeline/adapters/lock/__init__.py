"""One writer at a time in an output folder; readers need no lock."""

from vision_pipeline.adapters.lock.heartbeat import HeartbeatLock
from vision_pipeline.adapters.lock.process import NoLocksError, ProcessLock

__all__ = ["HeartbeatLock", "NoLocksError", "ProcessLock"]
