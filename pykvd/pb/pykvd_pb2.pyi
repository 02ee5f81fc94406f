from pykvd.pb import rpc_pb2 as _rpc_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RevisionAtRequest(_message.Message):
    __slots__ = ("time_ns",)
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    time_ns: int
    def __init__(self, time_ns: _Optional[int] = ...) -> None: ...

class RevisionAtResponse(_message.Message):
    __slots__ = ("header", "revision", "time_ns", "compact_revision")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    COMPACT_REVISION_FIELD_NUMBER: _ClassVar[int]
    header: _rpc_pb2.ResponseHeader
    revision: int
    time_ns: int
    compact_revision: int
    def __init__(self, header: _Optional[_Union[_rpc_pb2.ResponseHeader, _Mapping]] = ..., revision: _Optional[int] = ..., time_ns: _Optional[int] = ..., compact_revision: _Optional[int] = ...) -> None: ...

class TimesRequest(_message.Message):
    __slots__ = ("revisions",)
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    revisions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, revisions: _Optional[_Iterable[int]] = ...) -> None: ...

class TimesResponse(_message.Message):
    __slots__ = ("header", "times_ns")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TIMES_NS_FIELD_NUMBER: _ClassVar[int]
    header: _rpc_pb2.ResponseHeader
    times_ns: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, header: _Optional[_Union[_rpc_pb2.ResponseHeader, _Mapping]] = ..., times_ns: _Optional[_Iterable[int]] = ...) -> None: ...
