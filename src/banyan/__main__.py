"""`python -m banyan` is the `banyan` program."""

from banyan.cli.main import main

main()
