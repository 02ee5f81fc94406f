"""grpc.reflection v1 and v1alpha: what grpcurl and its like ask to learn the API.

The two versions have the same messages under different names, so one set of classes serves both.
"""

from collections.abc import Iterable

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from pykvd.api.decode import decode
from pykvd.errors import Code, RpcError

# The pool knows the files that are loaded, and these services are loaded for their first call.
from pykvd.pb import (
    health_pb2,  # noqa: F401
    reflection_pb2,
    reflection_v1alpha_pb2,
    v3election_pb2,  # noqa: F401
    v3lock_pb2,  # noqa: F401
)
from pykvd.pb._pool import POOL
from pykvd.transport import AsyncStream, StreamHandler, async_stream

_SERVICES = [
    service.full_name
    for module in (reflection_pb2, reflection_v1alpha_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]


class ReflectionService:
    """ServerReflectionInfo, in both versions.

    `paths` are the paths of all methods that the server has; their services are told.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        names = {path.rpartition("/")[0].removeprefix("/") for path in paths}
        self._names = sorted(names.union(_SERVICES))

    def streams(self) -> dict[str, StreamHandler]:
        """The service's streaming methods by path."""
        handler = async_stream(self.info)
        return {f"/{name}/ServerReflectionInfo": handler for name in _SERVICES}

    async def info(self, stream: AsyncStream) -> None:
        """Answer one question after the other."""
        async for payload in stream:
            request = decode(reflection_pb2.ServerReflectionRequest, payload)
            response = self._answer(request)
            response.valid_host = request.host
            response.original_request.CopyFrom(request)
            await stream.send(response.SerializeToString())

    def _answer(
        self, request: reflection_pb2.ServerReflectionRequest
    ) -> reflection_pb2.ServerReflectionResponse:
        try:
            match request.WhichOneof("message_request"):
                case "list_services":
                    return self._list()
                case "file_by_filename":
                    return _with_imports(POOL.FindFileByName(request.file_by_filename))
                case "file_containing_symbol":
                    symbol = request.file_containing_symbol.removeprefix(".")
                    return _with_imports(POOL.FindFileContainingSymbol(symbol))
                case "all_extension_numbers_of_type":
                    return _no_extensions(request.all_extension_numbers_of_type)
                case "file_containing_extension":
                    return _error(Code.NOT_FOUND, "proto3 has no extensions")
        except KeyError:
            return _error(Code.NOT_FOUND, "not found")
        raise RpcError(Code.INVALID_ARGUMENT, f"invalid MessageRequest: {request}")

    def _list(self) -> reflection_pb2.ServerReflectionResponse:
        services = [reflection_pb2.ServiceResponse(name=name) for name in self._names]
        return reflection_pb2.ServerReflectionResponse(
            list_services_response=reflection_pb2.ListServiceResponse(service=services)
        )


def _with_imports(file: FileDescriptor) -> reflection_pb2.ServerReflectionResponse:
    """A file and all that it imports, the file first."""
    found: dict[str, bytes] = {}
    waiting = [file]
    while waiting:
        file = waiting.pop()
        if file.name not in found:
            proto = FileDescriptorProto()
            file.CopyToProto(proto)
            found[file.name] = proto.SerializeToString()
            waiting += file.dependencies
    return reflection_pb2.ServerReflectionResponse(
        file_descriptor_response=reflection_pb2.FileDescriptorResponse(
            file_descriptor_proto=found.values()
        )
    )


def _no_extensions(name: str) -> reflection_pb2.ServerReflectionResponse:
    """Raises KeyError for an unknown message type."""
    POOL.FindMessageTypeByName(name)
    return reflection_pb2.ServerReflectionResponse(
        all_extension_numbers_response=reflection_pb2.ExtensionNumberResponse(base_type_name=name)
    )


def _error(code: Code, text: str) -> reflection_pb2.ServerReflectionResponse:
    return reflection_pb2.ServerReflectionResponse(
        error_response=reflection_pb2.ErrorResponse(error_code=code, error_message=text)
    )
