"""What should be known before a number is trusted: of the machine, a run, its tokenizer and template, and the data."""
