"""Prefect flows: decorators over the pipeline, and nothing else."""

import os

# Read when Prefect is first imported. Nothing leaves this machine but what the user asks for, what
# the package logs is shown with its flow run, if any, and a temporary server gets the time that it
# needs on a small machine.
for _name, _value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "vision_pipeline",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
}.items():
    os.environ.setdefault(_name, _value)
