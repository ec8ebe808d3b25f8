"""Stands before the real vllm on PYTHONPATH: engines that start at once and say their system prompt."""
