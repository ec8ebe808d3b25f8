"""Terraform snippets with known faults: the truth is known because the generator put it there."""
