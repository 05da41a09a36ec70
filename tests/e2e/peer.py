"""Runs in the environment with tritonclient, not in ours: `peer.py HOST:PORT MODEL`.

Prints what an unmodified client of the protocol sees, as JSON.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
import json
import queue
import sys
from collections.abc import Callable
from typing import Any  # tritonclient is untyped

import numpy as np
import tritonclient.grpc as triton  # pyright: ignore[reportMissingImports] - not in our environment

import twofold.oip.inference_pb2  # both register messages: they must get along in one process
from twofold.client import Client

_TIMEOUT_S = 10


def infer(client: Any, model: str, rows: Any, dtype: str = "FP32") -> Any:  # noqa: ANN401
    tensor = triton.InferInput("x", list(rows.shape), dtype)
    tensor.set_data_from_numpy(rows)
    return client.infer(model, [tensor], request_id="7", client_timeout=_TIMEOUT_S)


def refusal(call: Callable[[], object]) -> dict[str, str]:
    """The status and the text of a call that must fail."""
    try:
        call()
    except triton.InferenceServerException as error:
        return {"status": str(error.status()), "message": str(error.message())}
    return {}


def stream(client: Any, model: str, rows: Any) -> list[list[str]]:  # noqa: ANN401
    """The labels of three requests on one stream."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for index in range(3):
        tensor = triton.InferInput("x", [1, 2], "FP32")
        tensor.set_data_from_numpy(rows[index : index + 1])
        client.async_stream_infer(model, [tensor], request_id=str(index))
    taken = [answers.get(timeout=_TIMEOUT_S) for _ in range(3)]
    client.stop_stream()
    return [labels(result) if error is None else [str(error)] for result, error in taken]


def labels(result: Any) -> list[str]:  # noqa: ANN401
    return [label.decode() for label in result.as_numpy("label").reshape(-1)]


def main() -> None:
    address, model = sys.argv[1:]
    rows = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    many = np.tile(rows, (8, 1))
    with triton.InferenceServerClient(address) as client, Client(infer=address) as ours:
        one = infer(client, model, rows[1:2])
        seen = {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": client.is_model_ready(model),
            "unknown_ready": client.is_model_ready("nobody"),
            "metadata": client.get_model_metadata(model, as_json=True),
            "config": client.get_model_config(model, as_json=True)["config"]["name"],
            "one": labels(one),
            "one_id": one.get_response().id,
            "one_version": one.get_response().model_version,
            "many": labels(infer(client, model, many)),
            "stream": stream(client, model, rows),
            "ours": ours.predict(model, many).labels.tolist(),
            "unknown": refusal(lambda: infer(client, "nobody", rows)),
            "shape": refusal(lambda: infer(client, model, np.zeros((1, 3), np.float32))),
            "dtype": refusal(lambda: infer(client, model, np.zeros((1, 2), np.int64), "INT64")),
            "messages": twofold.oip.inference_pb2.ModelInferRequest.DESCRIPTOR.full_name,
        }
    json.dump(seen, sys.stdout)


main()
