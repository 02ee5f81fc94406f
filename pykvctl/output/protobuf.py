"""Protobuf output: the serialised answer on standard output, no newline, no framing."""

from typing import TYPE_CHECKING

from pykvctl.output.printer import Printer

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from pykvd.pb import rpc_pb2 as rpc


class ProtobufPrinter(Printer):
    """Bytes for other programs."""

    def message(self, message: "Message") -> None:
        """Any answer."""
        self.streams.write(message.SerializeToString())

    def lease_grant(self, answer: "rpc.LeaseGrantResponse") -> None:
        """The header only, as etcdctl has it for leases."""
        self.message(answer.header)

    def lease_keep_alive(self, answer: "rpc.LeaseKeepAliveResponse") -> None:
        """The header only."""
        self.message(answer.header)

    def lease_time_to_live(self, answer: "rpc.LeaseTimeToLiveResponse", *, keys: bool) -> None:  # noqa: ARG002
        """The header only."""
        self.message(answer.header)

    def lease_list(self, answer: "rpc.LeaseLeasesResponse") -> None:
        """The header only."""
        self.message(answer.header)
