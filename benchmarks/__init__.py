"""What attnshift costs, beside the plain call that does the same work: `python -m benchmarks`."""
