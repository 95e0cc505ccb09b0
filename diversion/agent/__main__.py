"""`python3 peeltap-agent.pyz --config agent.json`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from diversion.agent import config as configuration


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0 when done, 2 for wrong use or configuration."""
    if sys.version_info < (3, 9):  # noqa: UP036
        sys.stderr.write("peeltap-agent: needs Python 3.9 or later\n")
        return 2
    keys = "\n".join(f"  {key:<10} {what}" for key, what in configuration.KEYS.items())
    parser = argparse.ArgumentParser(
        prog="peeltap-agent",
        description="Accepts peers where decoys are advertised, and brings them to gateway1 "
        "with a proxy header.",
        epilog=f"The file is JSON:\n\n{keys}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", required=True, metavar="FILE", help="its file, in JSON")
    parser.add_argument("--check", action="store_true", help="check the file and end")
    parser.add_argument(
        "--print-haproxy", action="store_true", help="print HAProxy's file for the same, and end"
    )
    asked = parser.parse_args(arguments)
    try:
        config = configuration.load(asked.config)
    except configuration.AgentConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if asked.check:
        return 0
    if asked.print_haproxy:
        from diversion.agent import print_haproxy

        try:
            sys.stdout.write(print_haproxy.render(config))
        except ValueError as error:
            sys.stderr.write(f"peeltap-agent: {error}\n")
            return 1
        return 0
    from diversion.agent import service

    return service.run(config)


if __name__ == "__main__":
    sys.exit(main())
