"""Checks, deduplication and splits of a task's rows."""
