"""Prefect flows, thin: they call the library, and say in Prefect what it did."""
