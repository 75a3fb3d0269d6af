"""Figures of traces, and files of figures."""
