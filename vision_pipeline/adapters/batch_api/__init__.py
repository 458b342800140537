"""A provider's Batch API over HTTP: files up, jobs made and looked at, results down."""
