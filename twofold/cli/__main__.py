"""`python -m twofold.cli`, where no script was installed."""

from twofold.cli import main

main()
