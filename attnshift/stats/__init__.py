"""Intervals on labelled arrays; knows no torch."""
