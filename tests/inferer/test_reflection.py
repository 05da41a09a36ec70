"""Reflection shows the services under the names by which they are called."""

from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2

from inferer.reflection import PATHS, Reflection
from tests.inferer.server import SERVICE
from twofold.oip import inference_pb2

Request = reflection_pb2.ServerReflectionRequest


def test_the_services_are_those_that_are_called() -> None:
    answer = Reflection().answer(Request(list_services=""))

    names = [service.name for service in answer.list_services_response.service]
    assert names == ["grpc.health.v1.Health", SERVICE.strip("/")]


def test_a_symbols_files_make_a_pool_with_every_method() -> None:
    answer = Reflection().answer(Request(file_containing_symbol=SERVICE.strip("/")))

    pool = descriptor_pool.DescriptorPool()
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(data)
        for data in answer.file_descriptor_response.file_descriptor_proto
    ]
    for file in reversed(files):  # what others need comes last
        pool.Add(file)
    service = pool.FindServiceByName(SERVICE.strip("/"))
    own = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert [method.name for method in service.methods] == [method.name for method in own.methods]
    infer = service.methods_by_name["ModelInfer"].input_type
    assert infer is not None
    assert infer.full_name == "inference.ModelInferRequest"
    assert (
        infer.fields_by_name["inputs"].message_type
        == infer.nested_types_by_name["InferInputTensor"]
    )


def test_files_and_nested_symbols_are_found_and_others_are_not() -> None:
    reflection = Reflection()
    for name in ("inference.ModelInferRequest.InferInputTensor", "grpc.health.v1.Health.Check"):
        assert reflection.answer(Request(file_containing_symbol=name)).HasField(
            "file_descriptor_response"
        )
    assert reflection.answer(Request(file_by_filename="twofold/oip/config.proto")).HasField(
        "file_descriptor_response"
    )
    for request in (
        Request(file_containing_symbol="twofold.v1.TrainingService"),
        Request(file_by_filename="/etc/passwd"),
    ):
        assert reflection.answer(request).error_response.error_code == 5
    assert reflection.answer(Request()).error_response.error_code == 12


def test_both_releases_have_a_path() -> None:
    assert "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo" in PATHS
    assert "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" in PATHS
