"""The KServe SDK: `kserve_sdk.py HOST:PORT`."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# pyright: reportMissingImports=false
import asyncio
import json
import sys

import grpc.aio
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

#: At once: as many as may wait there.
_REQUESTS = 12


def request(model: str, value: float, *, is_typed: bool = False) -> InferRequest:
    """Raw contents, or a list in typed contents."""
    rows = [value] if is_typed else None
    made = InferInput("x", [1, 1], "FP32", data=rows)
    if rows is None:
        made.set_data_from_numpy(np.array([[value]], np.float32))
    return InferRequest(model_name=model, infer_inputs=[made], request_id="7")


async def seen_by(address: str) -> dict[str, object]:
    client = InferenceGRPCClient(address)
    results = await asyncio.gather(
        *(client.infer(request("m", number)) for number in range(_REQUESTS))
    )
    typed = await client.infer(request("m", 1, is_typed=True))
    seen: dict[str, object] = {
        "ready": [await client.is_server_live(), await client.is_server_ready()],
        "model_ready": [await client.is_model_ready("m"), await client.is_model_ready("nobody")],
        "many": [float(result.outputs[0].as_numpy()[0, 0]) for result in results],
        "typed": float(typed.outputs[0].as_numpy()[0, 0]),
        "id": typed.id,
    }
    try:
        await client.infer(request("nobody", 1))
    except grpc.aio.AioRpcError as error:
        seen["nobody"] = error.code().name
    await client.close()
    return seen


def main() -> None:
    json.dump(asyncio.run(seen_by(sys.argv[1])), sys.stdout)


main()
