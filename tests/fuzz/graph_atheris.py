"""Coverage-guided fuzzing of the graph's decoder, for as long as one likes; not part of the tests.

Run where atheris is installed, from the repository's root:
`python -m tests.fuzz.graph_atheris CORPUS_FOLDER -max_total_time=600`. Whatever is neither refused
by name nor a net that runs ends it, with the input in a file.
"""

import importlib
import sys
import warnings
from pathlib import Path
from typing import Any

atheris: Any = importlib.import_module("atheris")  # not among the project's own dependencies

with atheris.instrument_imports(include=["twofold.nets", "twofold.strict"]):
    from tests.twofold.nets import mutations


def one_input(data: bytes) -> None:
    """Raises for what is neither refused nor runs."""
    mutations.check(data)


def main() -> None:
    """Writes the seeds into the corpus and fuzzes until told to stop."""
    warnings.simplefilter("ignore", UserWarning)  # torch's advice about odd networks
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        corpus = Path(sys.argv[1])
        corpus.mkdir(parents=True, exist_ok=True)
        for index, seed in enumerate(mutations.seeds()):
            (corpus / f"seed-{index}").write_bytes(seed.SerializeToString(deterministic=True))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
