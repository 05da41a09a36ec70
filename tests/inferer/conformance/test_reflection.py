"""Reflection behind its flag: what grpcio's own client of it, as tools have it, gets to see."""

import asyncio
from collections.abc import Mapping, Sequence

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from inferer.reflection import PATHS
from tests.inferer.conformance.callers import Failure, calling
from tests.inferer.conformance.transports import inferring
from tests.inferer.server import SERVICE
from twofold.oip import inference_pb2

NAME = SERVICE.strip("/")
LIST = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()


def seen(address: str) -> tuple[Sequence[str], Mapping[str, tuple[str, str]]]:
    """The services that there are, and what the methods of ours take and answer."""
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        names = list(database.get_services())
        service = DescriptorPool(database).FindServiceByName(NAME)
        return names, {
            method.name: (method.input_type.full_name, method.output_type.full_name)
            for method in service.methods
        }


async def test_a_client_lists_and_describes_the_services(transport: str, all_caught: None) -> None:
    del all_caught
    async with inferring(transport, reflects=True) as server:
        names, methods = await asyncio.to_thread(seen, server.address)

    own = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert names == ["grpc.health.v1.Health", NAME]
    assert list(methods) == [method.name for method in own.methods]
    assert methods["ModelInfer"] == ("inference.ModelInferRequest", "inference.ModelInferResponse")


@pytest.mark.parametrize("path", sorted(PATHS))
async def test_both_releases_are_there_where_it_is_asked_for_alone(
    transport: str, path: str, all_caught: None
) -> None:
    del all_caught
    async with (
        inferring(transport, reflects=True) as server,
        calling("aio", server.address) as caller,
    ):
        (answer,) = await caller.stream(path, [LIST])
        listed = reflection_pb2.ServerReflectionResponse.FromString(answer)
        assert NAME in [one.name for one in listed.list_services_response.service]

    async with (
        inferring(transport) as server,
        calling("aio", server.address) as caller,
    ):
        with pytest.raises(Failure) as caught:
            await caller.stream(path, [LIST])
        assert caught.value.code == "UNIMPLEMENTED"
