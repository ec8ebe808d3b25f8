"""The gateway: an OpenAI-compatible server that applies each task's release."""
