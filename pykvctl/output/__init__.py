"""The five output formats."""

from importlib import import_module

from pykvctl.errors import CommandError, ExitCode
from pykvctl.output.printer import Printer
from pykvctl.streams import Streams

__all__ = ["Printer", "make_printer"]

_FORMATS = {
    "simple": "SimplePrinter",
    "json": "JsonPrinter",
    "fields": "FieldsPrinter",
    "table": "TablePrinter",
    "protobuf": "ProtobufPrinter",
}


def make_printer(name: str, streams: Streams, *, hex_bytes: bool) -> Printer:
    """The printer of a format, imported on demand; CommandError for an unknown name."""
    if name not in _FORMATS:
        raise CommandError("unsupported output format", ExitCode.BAD_FEATURE)
    module = import_module(f"pykvctl.output.{name}")
    printer = getattr(module, _FORMATS[name])(name, streams, hex_bytes=hex_bytes)
    assert isinstance(printer, Printer)
    return printer
