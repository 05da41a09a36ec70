import importlib

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2

from twofold import errors, rpc
from twofold.v1 import errors_pb2


def leaves() -> list[type[errors.TwofoldError]]:
    return errors.TwofoldError.__subclasses__()


def test_every_reason_has_one_class() -> None:
    reasons = [leaf.reason for leaf in leaves()]

    assert sorted(reasons) == list(range(1, len(errors_pb2.ErrorReason.values())))


@pytest.mark.parametrize("kind", leaves(), ids=lambda kind: kind.__name__)
def test_an_error_survives_the_wire(kind: type[errors.TwofoldError]) -> None:
    sent = errors.Internal() if kind is errors.Internal else kind("broken", field="a.b", value=3)

    got = rpc.from_status(rpc.to_status(sent))

    assert type(got) is kind
    assert got.message == sent.message
    assert got.fields == sent.fields
    assert got.code in grpc.StatusCode.__members__


def test_a_class_that_another_module_derives_arrives_as_its_parent() -> None:
    store = importlib.import_module("twofold.store")
    fresh = importlib.reload(rpc)

    for sent in (errors.Unavailable("away"), store.StoreError("away")):
        assert type(fresh.from_status(fresh.to_status(sent))) is errors.Unavailable


def test_exactly_one_error_info_and_the_violated_field_are_sent() -> None:
    status = rpc.to_status(errors.InvalidField.of("training.epochs", -1, "1 to 10"))

    kinds = [detail.type_url.rsplit(".", 1)[1] for detail in status.details]
    assert kinds == ["ErrorInfo", "BadRequest"]
    assert status.message == "training.epochs is -1; allowed: 1 to 10"


def test_a_full_queue_says_when_to_come_back() -> None:
    status = rpc.to_status(errors.QueueFull("full", retry_after_s=0.25, model="m"))

    retry = error_details_pb2.RetryInfo()
    assert any_pb2.Any.Unpack(status.details[1], retry)
    assert retry.retry_delay.ToMilliseconds() == 250


def test_another_servers_code_becomes_the_nearest_class() -> None:
    assert isinstance(rpc.from_code("NOT_FOUND", "x"), errors.NotFound)
    assert isinstance(rpc.from_code("UNAVAILABLE", "x"), errors.Unavailable)
    unknown = rpc.from_code("PERMISSION_DENIED", "no")
    assert type(unknown) is errors.TwofoldError
    assert "PERMISSION_DENIED" in unknown.message


def test_an_unknown_reason_is_an_error_all_the_same() -> None:
    status = rpc.to_status(errors.NotFound("gone"))
    info = error_details_pb2.ErrorInfo(reason="FROM_THE_FUTURE", domain=rpc.DOMAIN)
    status.details[0].Pack(info)

    assert type(rpc.from_status(status)) is errors.TwofoldError


def test_values_are_cut_and_escaped() -> None:
    error = errors.InvalidField.of("x", "a\n\x1b[31m" + "b" * 10_000, "c")

    assert len(error.message) < 500
    assert error.message.isprintable()


def test_an_rpc_error_without_a_call_is_still_readable() -> None:
    assert "boom" in rpc.from_rpc_error(grpc.RpcError("boom")).message
