"""`python -m nanokimi.cli` does what `nanokimi` does."""

from nanokimi.cli.commands import main

main()
