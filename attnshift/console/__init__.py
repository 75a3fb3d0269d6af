"""What the command line prints: facts of the library as lines of text. A module per command."""
