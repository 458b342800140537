"""The ledger in PostgreSQL, which several machines may share."""
