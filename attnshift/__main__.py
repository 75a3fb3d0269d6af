"""`python -m attnshift` is `attnshift`."""

from attnshift.cli import main

if __name__ == "__main__":
    main()
