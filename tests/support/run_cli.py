"""The command line of this checkout: `python -m tests.support.run_cli ...`."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
