"""Stepladder keeps an LLM assistant on the cheapest rung that is provably good enough."""

__version__ = "0.1.0"
