"""`python -m inferer`: serves what the store holds; exits 2 for settings that cannot be used."""

import argparse
import logging
import os
import sys
import threading
from collections.abc import Sequence

from inferer import app
from twofold import config, faults, log

#: A thread in the middle of a load gets this long at the end; nothing of it is needed any more.
_LEAVE_S = 0.5

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] = ()) -> int:
    """Runs the inferer; the exit code."""
    if transport := _parsed(arguments).transport:
        os.environ["TWOFOLD_TRANSPORT"] = transport
    try:
        settings = config.read(config.InfererSettings)
        log.setup("inferer", settings.log_level, settings.log_style)
        if config.is_insecure_accepted():
            _log.warning("exposure without TLS and tokens is accepted by the operator")
        faults.arm_from(os.environ.get("TWOFOLD_FAULTS", ""))
        app.run(settings)
    except (config.UnusableSettings, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - logs may not be set up yet
        return 2
    return 0


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m inferer", description="Serves what the store holds; see README, Settings."
    )
    parser.add_argument(
        "--transport", choices=("grpcio", "native"), help="instead of TWOFOLD_TRANSPORT"
    )
    return parser.parse_args(arguments)


def leave(code: int) -> None:
    """Exits, in time even where a thread still computes."""
    others = [thread for thread in threading.enumerate() if not thread.daemon]
    others.remove(threading.main_thread())
    for thread in others:
        thread.join(_LEAVE_S)
    if any(thread.is_alive() for thread in others):
        logging.shutdown()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
