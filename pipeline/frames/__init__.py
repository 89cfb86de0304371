"""Frames in memory: the ring of a camera and its ledger."""
