"""Prefect flows: decorators over the pipeline, and nothing else."""

import os

# Read when Prefect is first imported. Nothing leaves this machine but what the user asks for, and a
# temporary server gets the time that it needs on a small machine.
for _name, _value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
}.items():
    os.environ.setdefault(_name, _value)
