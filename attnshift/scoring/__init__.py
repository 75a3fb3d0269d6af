"""From generated text to answers; knows no torch."""
