"""One short script per result; each runs as ``python -m analyses.NAME``."""
