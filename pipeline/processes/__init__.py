"""Processes: forked quickly, ended with their parent, known by host and pid; and how they log."""
