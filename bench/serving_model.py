"""The model of bench.serving: an MLP 64-128-128-10 in float32, published and as bare weights."""
# pyright: reportUnknownMemberType=false

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch

from twofold import keys, names
from twofold.features import Features, signature
from twofold.manifest import sha256_hex
from twofold.nets import catalogue
from twofold.nets.net import Net, init, load
from twofold.nets.registry import arrays_of
from twofold.oip import inference_pb2 as pb
from twofold.principal import LOCAL
from twofold.publish import Attempt, publish
from twofold.seams import SystemClock
from twofold.store import LocalStore
from twofold.tensors import Array
from twofold.v1 import model_pb2, spec_pb2

MODEL = "mlp"
WIDTH, HIDDEN, OUTPUTS = 64, (128, 128), 10
_GOLDEN_ROWS = 4
#: How far answers of different libraries may be apart.
_TOLERANCE = 1e-4


def spec_and_net(seed: int = 0) -> tuple[model_pb2.FeatureSpec, Net]:
    """64 numbers to 10 numbers."""
    spec = model_pb2.FeatureSpec(
        numeric_columns=[f"x{place}" for place in range(WIDTH)],
        target="y0",
        targets=[f"y{place}" for place in range(OUTPUTS)],
        task=spec_pb2.TASK_REGRESSION,
    )
    network = spec_pb2.NetworkSpec(family=spec_pb2.FAMILY_MLP, hidden=HIDDEN)
    graph = catalogue.build(network, spec, scaling=False, loss=spec_pb2.LOSS_UNSPECIFIED)
    return spec, init(graph, seed).eval()


def constant(value: float, template: Net) -> Net:
    """The same network with weights such that every output is `value`: it tells its version."""
    state = {path: torch.zeros_like(tensor) for path, tensor in template.state_dict().items()}
    last = [path for path in state if path.endswith("bias")][-1]
    return load(template.graph, {**state, last: state[last] + value}).eval()


def row() -> Array:
    """The one row that every request carries."""
    return np.random.default_rng(3).standard_normal((1, WIDTH)).astype(np.float32)


def put(store: LocalStore, made: tuple[model_pb2.FeatureSpec, Net]) -> int:
    """Publishes a version as a finished job does; its number."""
    spec, net = made
    inputs = {"x": np.random.default_rng(7).standard_normal((_GOLDEN_ROWS, WIDTH)).astype("<f4")}
    outputs = answer(spec, net, inputs)
    golden = {f"input.{name}": array for name, array in inputs.items()}
    golden |= {f"output.{name}": np.ascontiguousarray(a) for name, a in outputs.items()}
    weights = {path: tensor.contiguous() for path, tensor in net.weights().items()}
    files = {
        "graph.pb": net.graph.SerializeToString(),
        "weights.safetensors": safetensors.torch.save(weights),
        "golden.safetensors": safetensors.numpy.save(golden),
    }
    attempt = Attempt(LOCAL.tenant, names.ulid(), names.ulid(), 1, 0)
    folder = keys.attempt_artifact(attempt.tenant, attempt.job, attempt.attempt)
    for name, data in files.items():
        store.create(f"{folder}/{name}", data)
    manifest = _manifest(spec, net, files)
    return publish(store, SystemClock(), attempt, manifest, may_decide=lambda: True).version


def _manifest(
    spec: model_pb2.FeatureSpec, net: Net, files: Mapping[str, bytes]
) -> model_pb2.Manifest:
    inputs, outputs = signature(spec, OUTPUTS, net.graph)
    return model_pb2.Manifest(
        format_version=1,
        model=MODEL,
        files=[
            model_pb2.File(name=name, size_bytes=len(data), sha256=sha256_hex(data))
            for name, data in files.items()
        ],
        inputs=inputs,
        outputs=outputs,
        features=spec,
        lineage=model_pb2.Lineage(dataset="bench", code_version="bench"),
        tolerances=[
            model_pb2.Tolerance(
                device="cpu", precision="fp32", absolute=_TOLERANCE, relative=_TOLERANCE
            )
        ],
    )


def answer(
    spec: model_pb2.FeatureSpec, net: Net, inputs: Mapping[str, Array]
) -> Mapping[str, Array]:
    """What the network answers, computed apart from every server."""
    features = Features(spec, net.graph)
    with torch.inference_mode():
        arguments = [torch.from_numpy(array.copy()) for array in features.inputs(inputs)]
        return features.answers(arrays_of(net.head(net(*arguments))))


def write_weights(net: Net, path: Path) -> None:
    """The linear layers for other servers: w0, b0, w1 and so on, as torch.nn.Linear has them."""
    arrays: dict[str, Array] = {}
    for name, tensor in net.weights().items():
        kind = "b" if name.endswith("bias") else "w"
        arrays[f"{kind}{sum(key.startswith(kind) for key in arrays)}"] = tensor.detach().numpy()
    widths = (WIDTH, *HIDDEN, OUTPUTS)
    for place, (inner, outer) in enumerate(itertools.pairwise(widths)):
        if arrays[f"w{place}"].shape != (outer, inner):
            raise SystemExit(f"layer {place} is {arrays[f'w{place}'].shape}")
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType] - names are arrays' names


def request(name: str) -> pb.ModelInferRequest:
    """One row in the input tensor `name`, as tritonclient writes it."""
    message = pb.ModelInferRequest(model_name=MODEL)
    message.inputs.add(name=name, datatype="FP32", shape=[1, WIDTH])
    message.raw_input_contents.append(row().tobytes())
    return message


def check_equal(who: str, found: Array, expected: Array) -> None:
    """Raises SystemExit unless an answer is the network's."""
    if found.shape != expected.shape or not np.allclose(
        found, expected, rtol=_TOLERANCE, atol=_TOLERANCE
    ):
        raise SystemExit(f"{who} answers {found.tolist()} instead of {expected.tolist()}")
