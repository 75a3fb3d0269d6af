"""What makes the files that are kept beside the code: `make figures`, `make notebooks`."""
