"""Asks a service over gRPC whether it serves: `python -m twofold.cluster.health HOST:PORT [NAME]`.

The health checks of containers run it: exit code 0 only where the answer is SERVING.
"""

import asyncio
import sys
from collections.abc import Sequence

import grpc.aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

_CHECK = "/grpc.health.v1.Health/Check"
_TIMEOUT_S = 2.0
_USAGE = "usage: python -m twofold.cluster.health HOST:PORT [SERVICE]"


async def is_serving(address: str, service: str = "", timeout_s: float = _TIMEOUT_S) -> bool:
    """Whether the server at HOST:PORT says SERVING for `service`."""
    async with grpc.aio.insecure_channel(address) as channel:
        check = channel.unary_unary(
            _CHECK,
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        try:
            answer = await check(HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return False
    return answer.status == HealthCheckResponse.SERVING


def main(arguments: Sequence[str]) -> int:
    """The exit code of the command line."""
    if not 1 <= len(arguments) <= 2:  # noqa: PLR2004 - see the usage
        sys.stderr.write(_USAGE + "\n")
        return 2
    service = arguments[1] if len(arguments) == 2 else ""  # noqa: PLR2004 - the second argument
    return 0 if asyncio.run(is_serving(arguments[0], service)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
