"""LoRA: training rows, training, merging and what was forgotten."""
