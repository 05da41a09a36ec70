"""grpc.health.v1: what the server tells load balancers and supervisors about itself."""

# grpc_health has no type stubs; this module is its edge.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVICES = (
    "",
    "twofold.v1.TrainingService",
    "twofold.v1.DatasetService",
    "twofold.v1.ModelService",
)


class Health:
    """Not serving until `serve`, and never again after `drain`."""

    def __init__(self) -> None:
        # Set at run time, which the type checker does not see.
        self._servicer = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue]

    async def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the service; every name is NOT_SERVING."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        for service in SERVICES:
            await self._servicer.set(service, health_pb2.HealthCheckResponse.NOT_SERVING)

    async def serve(self) -> None:
        """Every name is SERVING."""
        for service in SERVICES:
            await self._servicer.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Every name is NOT_SERVING from now on."""
        await self._servicer.enter_graceful_shutdown()
