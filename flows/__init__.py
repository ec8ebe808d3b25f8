"""What happens by itself, as Prefect flows: ``ingest``, ``climb``, ``promote``, ``watch``.

The order of work is that of ``dvc.yaml``; what needs no Prefect stands in plain functions beside the flows.
"""
