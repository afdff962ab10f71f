"""`python -m studio.cli` runs the command line."""

from __future__ import annotations

from studio.cli.commands import main

main()
