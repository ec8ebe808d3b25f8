"""The two sample tasks, built at set-up time."""
