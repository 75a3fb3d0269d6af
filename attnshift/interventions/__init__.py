"""What one checkpoint does with a part of another: activations patched, weights grafted."""
