"""Where the gap is, which rung wins, and the report that says so."""
