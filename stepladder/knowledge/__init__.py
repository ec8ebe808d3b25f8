"""Documents to chunks to vectors to answers' evidence."""
