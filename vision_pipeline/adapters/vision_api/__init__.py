"""The vision API over HTTP: keep the pace, send, retry what may pass."""
