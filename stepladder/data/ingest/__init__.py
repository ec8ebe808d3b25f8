"""What arrives in the inbox joins a dataset, or goes to quarantine; nothing is lost and nothing doubled.

A batch is what one ingest takes for one task. ``plan`` decides, once and in writing, what becomes of each
row; ``steps`` carries the plan out in steps that may each be run twice. So an ingest that was killed is
gone on with by the next one.
"""
