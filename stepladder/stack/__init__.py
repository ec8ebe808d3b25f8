"""The whole system on one machine without containers: ``stepladder up`` and ``stepladder down``."""
