"""Seeds of a tier, run side by side in processes of their own."""

import gc
import importlib
import logging
import multiprocessing
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial

from tests.chaos.runs import Result, Tier
from trainer.child import die_with_parent

MODULES = {"S": "tests.chaos.sim", "R": "tests.chaos.real", "P": "tests.chaos.full"}
#: Seeds that a process gets at once where runs are short.
_CHUNK = 25


@lru_cache
def load(name: str) -> Tier:
    """A tier by its letter; others are not imported."""
    tier = importlib.import_module(MODULES[name]).TIER  # ours, by a closed table
    assert isinstance(tier, Tier)
    return tier


def run_one(name: str, seed: int) -> Result:
    """One seed, in whatever process."""
    return load(name).run(seed)


def _prepare(name: str, parent: int) -> None:
    """Readies a process for many runs; it ends, and all below it, if the runner is killed."""
    die_with_parent(parent)
    load(name)
    if name == "S":
        _settle_in()


def _settle_in() -> None:
    """Short runs log nothing, and what they begin with is no garbage."""
    logging.disable()
    gc.freeze()


@contextmanager
def _settled_in(name: str) -> Generator[None]:
    """As `_prepare`, for a process that has other things to do afterwards."""
    silenced = logging.root.manager.disable
    if name == "S":
        _settle_in()
    try:
        yield
    finally:
        gc.unfreeze()
        logging.disable(silenced)


def results(name: str, seeds: Sequence[int], width: int) -> Iterator[Result]:
    """The results, as they come; `width` runs go side by side."""
    if width == 1:
        with _settled_in(name):
            yield from map(partial(run_one, name), seeds)
        return
    # Spawned, not forked: a run may fork by itself, and wants no thread around.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(width, context, partial(_prepare, name, os.getpid())) as pool:
        chunk = _CHUNK if name == "S" else 1
        yield from pool.map(partial(run_one, name), seeds, chunksize=chunk)
