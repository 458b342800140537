"""The work itself: plan a run, analyze its shards, sum it up; knows adapters only by protocol."""
