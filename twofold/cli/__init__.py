"""The command line, over the client library and never around it."""


def main() -> None:
    """Runs `twofold`."""
    # At the first use: whoever imports this package for one part needs not all of it.
    from twofold.cli.app import app  # noqa: PLC0415 - see above

    app()
