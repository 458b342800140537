"""A run by the provider's Batch API: what is asked is noted, handed over, and collected."""
