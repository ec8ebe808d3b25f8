"""``stepladder doctor``: what commonly goes wrong, and the remedy for each."""
