"""tritonclient, blocking, asyncio and streaming: `triton.py HOST:PORT [CA CERTIFICATE KEY]`."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
# pyright: reportMissingImports=false
import asyncio
import json
import queue
import sys
from typing import Any  # tritonclient is untyped

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

_TIMEOUT_S = 20
#: At once: as many as may wait there.
_REQUESTS = 12
#: With files, TLS is spoken.
_FILES = dict(
    zip(("root_certificates", "certificate_chain", "private_key"), sys.argv[2:], strict=False)
)
TLS: dict[str, Any] = {"ssl": True, **_FILES} if _FILES else {}


def tensor(value: float) -> Any:  # noqa: ANN401
    made = triton.InferInput("x", [1, 1], "FP32")
    made.set_data_from_numpy(np.array([[value]], np.float32))
    return made


def value_of(result: Any) -> float:  # noqa: ANN401
    return float(result.as_numpy("value")[0, 0])


def blocking(address: str) -> dict[str, object]:
    with triton.InferenceServerClient(address, **TLS) as client:
        seen: dict[str, object] = {
            "ready": [client.is_server_live(), client.is_server_ready()],
            "model_ready": [client.is_model_ready("m"), client.is_model_ready("nobody")],
            "metadata": client.get_server_metadata(as_json=True)["name"],
            "config": client.get_model_config("m", as_json=True)["config"]["name"],
            "index": len(client.get_model_repository_index().models),
            "one": value_of(client.infer("m", [tensor(1)], client_timeout=_TIMEOUT_S)),
            "packed": [
                value_of(client.infer("m", [tensor(2)], compression_algorithm=algorithm))
                for algorithm in ("gzip", "deflate")
            ],
            "headers": value_of(client.infer("m", [tensor(3)], headers={"key": "value"})),
        }
        for name, model, timeout_us in (("nobody", "nobody", None), ("late", "m", 1)):
            try:
                client.infer(model, [tensor(1)], timeout=timeout_us)
            except triton.InferenceServerException as error:
                seen[name] = str(error.status())
        return seen


def several_at_once(address: str) -> list[float]:
    """Requests that overlap on one connection."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with triton.InferenceServerClient(address, **TLS) as client:
        for number in range(_REQUESTS):
            client.async_infer(
                "m", [tensor(number)], lambda result, error: answers.put((result, error))
            )
        taken = [answers.get(timeout=_TIMEOUT_S) for _ in range(_REQUESTS)]
    return sorted(value_of(result) for result, error in taken if error is None)


def streaming(address: str) -> list[float | str]:
    """One stream; the request in its middle is wrong."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with triton.InferenceServerClient(address, **TLS) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for model in ("m", "nobody", "m"):
            client.async_stream_infer(model, [tensor(4)])
        taken = [answers.get(timeout=_TIMEOUT_S) for _ in range(3)]
        client.stop_stream()
    return [value_of(result) if error is None else "error" for result, error in taken]


async def asyncio_client(address: str) -> dict[str, object]:
    async with triton_aio.InferenceServerClient(address, **TLS) as client:
        results = await asyncio.gather(
            *(client.infer("m", [tensor(number)]) for number in range(_REQUESTS))
        )

        async def requests() -> Any:  # noqa: ANN401
            for number in range(3):
                yield {"model_name": "m", "inputs": [tensor(number)]}

        streamed = [
            value_of(result) if error is None else str(error)
            async for result, error in client.stream_infer(requests())
        ]
        return {"many": [value_of(result) for result in results], "stream": streamed}


def main() -> None:
    address = sys.argv[1]
    seen = {
        "blocking": blocking(address),
        "overlapping": several_at_once(address),
        "streaming": streaming(address),
        "asyncio": asyncio.run(asyncio_client(address)),
    }
    json.dump(seen, sys.stdout)


main()
