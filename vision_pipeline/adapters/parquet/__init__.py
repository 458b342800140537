"""Frozen manifests and shards of results as Parquet files, written whole."""
