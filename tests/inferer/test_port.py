"""What the settings say of the port is so, whatever carries it."""

from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from inferer.reflection import PATHS
from tests.inferer.conformance.callers import AioCaller, Failure
from tests.inferer.conformance.certificates import Authority
from tests.inferer.server import SERVICE, running, settings_for
from twofold.oip import inference_pb2 as pb

LIST = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()


@pytest.fixture(params=["grpcio", "native"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("is_on", [False, True])
async def test_reflection_is_there_where_it_is_asked_for(
    tmp_path: Path, transport: str, *, is_on: bool
) -> None:
    settings = settings_for(tmp_path / "store", transport=transport, reflection=is_on)
    codes = list[str]()
    async with running(settings) as server:
        for path in sorted(PATHS):
            try:
                await AioCaller(server.channel).stream(path, [LIST])
            except Failure as failure:
                codes.append(failure.code)

    assert codes == ([] if is_on else ["UNIMPLEMENTED"] * len(PATHS))


async def test_the_files_of_tls_are_used(tmp_path: Path, transport: str) -> None:
    authority = Authority(tmp_path)
    pair, caller = (
        authority.issue("server", "127.0.0.1"),
        authority.issue("client", "c@example.org"),
    )
    settings = settings_for(
        tmp_path / "store",
        transport=transport,
        tls_certificate=pair.certificate,
        tls_key=pair.key,
        tls_client_ca=authority.file,
    )
    async with running(settings) as server:
        address = server.app.address
        assert await asked(address, authority.credentials(caller)) == "live"
        assert await asked(address, authority.credentials()) == "UNAVAILABLE"
        assert await asked(address, None) == "UNAVAILABLE"


async def asked(address: str, credentials: grpc.ChannelCredentials | None) -> str:
    """What such a caller is told."""
    channel = (
        grpc.aio.insecure_channel(address)
        if credentials is None
        else grpc.aio.secure_channel(address, credentials)
    )
    async with channel:
        try:
            answer = await AioCaller(channel).unary(SERVICE + "ServerLive", b"")
        except Failure as failure:
            return failure.code
    return "live" if pb.ServerLiveResponse.FromString(answer).live else "not live"
