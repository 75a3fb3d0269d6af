"""From a trace to one self-contained page."""
