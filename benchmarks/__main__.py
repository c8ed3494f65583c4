"""``python -m benchmarks``: how accurate and how fast model files are."""

import sys

from benchmarks.cli.parser import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
