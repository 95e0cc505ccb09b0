"""`python -m pipeline` is `peeltap`."""

from pipeline.cli import main

main()
