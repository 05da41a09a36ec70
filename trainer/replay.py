"""The gate that every model passes: its files, read back from the disk, answer what they promise.

What is replayed is the artifact, not the network that was trained: loaded as every reader loads it.
"""

from pathlib import Path

import numpy as np

from trainer.gates import NotBlessed
from twofold import artifact, signature
from twofold.errors import Corrupt
from twofold.golden import Golden, tolerance_for
from twofold.nets import bounds, registry
from twofold.nets.net import Net
from twofold.v1 import model_pb2


def require(manifest: model_pb2.Manifest, folder: Path) -> None:
    """Replays the golden rows of an exported artifact, together and one by one.

    Raises:
        NotBlessed: the files are not what the manifest says, or answer otherwise; a weight is not a
            number; or the answer to a row depends on the rows beside it, so that a server could not
            batch requests.
        OSError: the disk failed.
    """
    try:
        files = artifact.read_files(folder, manifest)
        net = registry.build(manifest, files)
        examples = Golden.parse(files[artifact.GOLDEN], signature.of_manifest(manifest))
    except Corrupt as error:
        raise NotBlessed(f"not published: {error.message}") from error
    _require_numbers(net)
    count = len(next(iter(examples.inputs.values())))
    try:
        alone = [
            registry.answers(
                net,
                manifest.features,
                {name: x[row : row + 1] for name, x in examples.inputs.items()},
            )
            for row in range(count)
        ]
        joined = {name: np.concatenate([one[name] for one in alone]) for name in examples.outputs}
        examples.check(joined, tolerance_for(manifest, "cpu"))
    except (Corrupt, RuntimeError, ValueError, IndexError) as error:
        raise NotBlessed(
            "not published: the answer to a row depends on the rows beside it; in eval mode every "
            f"row must be computed by itself ({error})"
        ) from error


def _require_numbers(net: Net) -> None:
    """The golden rows may not reach every weight: a table has rows for values that are rare.

    A buffer, or a parameter that is not trained, may be infinite: masks are.
    """
    learned = {path for path, state in bounds.state_shapes(net.graph).items() if state.is_trainable}
    learned -= set(net.graph.frozen)
    for path, tensor in net.weights().items():
        odd = ~tensor.isfinite() if path in learned else tensor.isnan()
        if odd.any():
            raise NotBlessed(f"not published: {path} holds {tensor[odd][0].item()}")
