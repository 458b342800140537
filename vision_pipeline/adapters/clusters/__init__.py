"""Processes that work for a run, on this machine or on others."""
