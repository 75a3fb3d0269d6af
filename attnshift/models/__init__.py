"""The hooked model: one skeleton, weights swapped in place, attention rows captured inside the attention call."""
