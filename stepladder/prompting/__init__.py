"""The messages that a rung sends to the model."""
