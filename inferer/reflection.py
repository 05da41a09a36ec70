"""Server reflection, for tools such as grpcurl: which services there are, and their protos.

Ours of the inference protocol have a package name of their own, so that several clients fit into
one process; callers are shown the name under which they call.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import cast

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from twofold.errors import InvalidField
from twofold.oip import inference_pb2

#: The messages of both are the same.
PATHS = frozenset(
    f"/grpc.reflection.{release}.ServerReflection/ServerReflectionInfo"
    for release in ("v1", "v1alpha")
)
_OWN, _SHOWN = "twofold.oip", "inference"
_NOT_FOUND, _UNIMPLEMENTED = 5, 12
_Request = reflection_pb2.ServerReflectionRequest
_Response = reflection_pb2.ServerReflectionResponse


class Reflection:
    """Answers about the inference and health services."""

    def __init__(self) -> None:
        self._files = {
            file.name: file
            for root in (inference_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR)
            for file in _shown(cast("FileDescriptor", root))
        }
        self._file_of = {
            symbol: file.name for file in self._files.values() for symbol in _symbols(file)
        }
        self._services = sorted(
            f"{file.package}.{service.name}"
            for file in self._files.values()
            for service in file.service
        )

    async def answers(self, messages: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """One answer per message; raises InvalidField for bytes that are none."""
        async for message in messages:
            try:
                request = _Request.FromString(message)
            except DecodeError as error:
                raise InvalidField("the message is not a ServerReflectionRequest") from error
            yield self.answer(request).SerializeToString()

    def answer(self, request: reflection_pb2.ServerReflectionRequest) -> _Response:
        """What the request asks for; errors are answers, too."""
        response = _Response(valid_host=request.host, original_request=request)
        match request.WhichOneof("message_request"):
            case "list_services":
                for name in self._services:
                    response.list_services_response.service.add(name=name)
            case "file_by_filename":
                self._add_file(response, request.file_by_filename)
            case "file_containing_symbol":
                self._add_file(response, self._file_of.get(request.file_containing_symbol, ""))
            case _:
                response.error_response.error_code = _UNIMPLEMENTED
                response.error_response.error_message = "ask for services, files or symbols"
        return response

    def _add_file(self, response: _Response, name: str) -> None:
        """The file and all that it needs."""
        if name not in self._files:
            response.error_response.error_code = _NOT_FOUND
            response.error_response.error_message = "there is no such file or symbol"
            return
        seen, waiting = dict[str, bytes](), [name]
        while waiting:
            file = self._files[waiting.pop()]
            if file.name not in seen:
                seen[file.name] = file.SerializeToString()
                waiting.extend(file.dependency)
        response.file_descriptor_response.file_descriptor_proto.extend(seen.values())


def _shown(root: FileDescriptor) -> Iterator[descriptor_pb2.FileDescriptorProto]:
    """A file and what it imports, under the names that callers know."""
    for dependency in root.dependencies:
        yield from _shown(dependency)
    proto = descriptor_pb2.FileDescriptorProto()
    root.CopyToProto(proto)
    if proto.package == _OWN:
        proto.package = _SHOWN
        for message in proto.message_type:
            _rename(message)
        for service in proto.service:
            for method in service.method:
                method.input_type = _renamed(method.input_type)
                method.output_type = _renamed(method.output_type)
    yield proto


def _rename(message: descriptor_pb2.DescriptorProto) -> None:
    for field in message.field:
        if field.type_name:  # numbers and texts have none, and must not get one
            field.type_name = _renamed(field.type_name)
    for nested in message.nested_type:
        _rename(nested)


def _renamed(name: str) -> str:
    prefix = f".{_OWN}."
    return f".{_SHOWN}." + name.removeprefix(prefix) if name.startswith(prefix) else name


def _symbols(file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
    for service in file.service:
        yield f"{file.package}.{service.name}"
        yield from (f"{file.package}.{service.name}.{method.name}" for method in service.method)
    for enum in file.enum_type:
        yield f"{file.package}.{enum.name}"
    for message in file.message_type:
        yield from _messages(file.package, message)


def _messages(scope: str, message: descriptor_pb2.DescriptorProto) -> Iterator[str]:
    name = f"{scope}.{message.name}"
    yield name
    yield from (f"{name}.{enum.name}" for enum in message.enum_type)
    for nested in message.nested_type:
        yield from _messages(name, nested)
