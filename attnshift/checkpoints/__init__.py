"""Finding, ordering, fingerprinting and reading checkpoints; knows nothing of what is measured."""
