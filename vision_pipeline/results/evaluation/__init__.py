"""Judging answers: against a truth, against another run, and how a truth comes about."""
