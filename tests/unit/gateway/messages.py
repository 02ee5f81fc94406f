"""Hypothesis strategies for messages of the API and for their JSON."""

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from pykvd.gateway.routes import ROUTES, find_method

DESCRIPTORS: dict[str, Descriptor] = {
    descriptor.full_name: descriptor
    for names in ROUTES.values()
    for method in [find_method(*names)]
    for descriptor in (method.input_type, method.output_type)
}
REQUESTS = sorted({find_method(*names).input_type.full_name for names in ROUTES.values()})

INTEGERS = {
    FieldDescriptor.TYPE_INT32: st.integers(-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, (1 << 32) - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, (1 << 64) - 1),
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = 3) -> Message:
    """Any message of this type."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if draw(st.booleans()):
            _fill(draw, message, field, depth)
    return message


def _fill(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    if field.message_type is not None and not depth:
        return
    count = draw(st.integers(0, 3)) if field.is_repeated else 1
    for _ in range(count):
        if field.message_type is not None:
            value = draw(messages(field.message_type, depth - 1))
            target = getattr(message, field.name)
            (target.add() if field.is_repeated else target).CopyFrom(value)
            if not field.is_repeated:
                target.SetInParent()
        elif field.is_repeated:
            getattr(message, field.name).append(draw(_scalar(field)))
        else:
            setattr(message, field.name, draw(_scalar(field)))


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type in INTEGERS:
        return INTEGERS[field.type]
    if field.enum_type is not None:
        known = st.sampled_from([value.number for value in field.enum_type.values])
        return known | st.integers(50, 60)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=12)
    return TEXT


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 65), 1 << 65)
    | st.floats(-1e15, 1e15)  # json_format loses digits of larger ones
    | st.text(max_size=6)
    | st.sampled_from(["Zm9v", "1", "-5", "1.0", "NONE", "PUT", "Zm8", "_-8=", "+/8="]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def json_near(descriptor: Descriptor, depth: int = 3) -> st.SearchStrategy[Any]:
    """JSON that has the fields of a message, by either name, and often the wrong values."""
    values: dict[str, st.SearchStrategy[Any]] = {}
    for field in descriptor.fields:
        value: st.SearchStrategy[Any] = JSON_VALUES
        if field.message_type is not None and depth:
            inner = json_near(field.message_type, depth - 1)
            value = st.lists(inner, max_size=2) if field.is_repeated else inner
        values[field.name] = values[field.json_name] = value
    return st.fixed_dictionaries({}, optional=values) | JSON_VALUES
