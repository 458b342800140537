"""Which adapter stands behind which protocol, and what stands in the files around a run."""
