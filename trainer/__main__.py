"""`python -m trainer`: the API, a worker or both, configured by TWOFOLD_* variables."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from trainer.app import run
from twofold import config, faults, log

#: The exit code for settings that must not start a service.
UNUSABLE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT; the exit code."""
    try:
        settings = read_settings(arguments)
        faults.arm_from(os.environ.get("TWOFOLD_FAULTS", ""))
        log.setup("trainer", settings.log_level, settings.log_style)
        asyncio.run(_run_until_signal(settings))
    except config.UnusableSettings as error:
        sys.stderr.write(f"{error}\n")
        return UNUSABLE
    return 0


def read_settings(arguments: Sequence[str] | None) -> config.TrainerSettings:
    """The environment's settings with the command line's role; raises UnusableSettings."""
    parser = argparse.ArgumentParser("python -m trainer", description=__doc__)
    parser.add_argument(
        "--role", choices=("api", "worker", "both"), help="which part runs (TWOFOLD_ROLE)"
    )
    options = parser.parse_args(arguments)
    settings = config.read(config.TrainerSettings)
    role: str | None = options.role
    return settings.model_copy(update={"role": role}) if role else settings


async def _run_until_signal(settings: config.TrainerSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop)


if __name__ == "__main__":
    sys.exit(main())
