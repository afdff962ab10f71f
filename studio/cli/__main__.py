"""`python -m studio.cli` runs the command line."""

from studio.cli.commands import main

main()
