"""Observe a series of checkpoints, one pass each, and keep it as one labelled dataset."""
