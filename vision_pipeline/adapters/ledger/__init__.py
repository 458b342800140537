"""Every reply ever paid for, by idempotency key, in one SQLite file."""
