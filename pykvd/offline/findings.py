"""What a check of a directory finds."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is."""

    DAMAGE = "damage"
    """The member must not go on with what is there."""
    NOTE = "note"
    """The next start sets it right by itself."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; `offset` is in bytes, -1 where none can be told."""

    severity: Severity
    file: str
    offset: int
    text: str
    way_out: str = ""

    @property
    def place(self) -> str:
        """File and offset in words."""
        return f"{self.file} at byte {self.offset}" if self.offset >= 0 else self.file
