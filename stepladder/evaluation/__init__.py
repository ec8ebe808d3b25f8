"""Ask the engine, score the answers, and put numbers with intervals on them."""
