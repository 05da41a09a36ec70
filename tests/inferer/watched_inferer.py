"""An inferer as a process that tells what each load made torch and others import.

`python -m tests.inferer.watched_inferer`: settings as always; ends once it is ready. A line per
load, as JSON: [model, [modules]]; then whether torch's compiler was imported.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Sequence

from inferer.app import App
from inferer.loading import Loaded, Loader
from tests.waiting import until
from twofold import config

_load = Loader.load
_imported: list[str] = []


class Finder:
    """Finds nothing; notes what is looked for on the loader's thread."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        del path, target
        if threading.current_thread().name.startswith("loader"):
            _imported.append(name)


def watched(self: Loader, tenant: str, model: str, number: int) -> Loaded:
    _imported.clear()
    loaded = _load(self, tenant, model, number)
    told = json.dumps([model, _imported])
    sys.stdout.write(told + "\n")
    return loaded


async def main() -> None:
    Loader.load = watched
    sys.meta_path.insert(0, Finder)  # pyright: ignore[reportArgumentType] - a finder, but for typeshed
    app = App(config.read(config.InfererSettings))
    running = asyncio.create_task(app.run())
    await app.listening.wait()

    async def is_ready() -> bool:
        return app.health.is_serving

    await until(is_ready)
    app.stop()
    await running
    sys.stdout.write(json.dumps("torch._dynamo" in sys.modules))


if __name__ == "__main__":
    asyncio.run(main())
