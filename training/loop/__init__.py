"""A training run from start to end: its data, loop, state, log, and the checkpoint it leaves."""
