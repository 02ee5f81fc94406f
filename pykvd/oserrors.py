"""What the system says is wrong, in the form in which Go's programs print it."""

from __future__ import annotations


def reason(error: OSError) -> str:
    """The system's text, in lower case."""
    return (error.strerror or str(error)).lower()


def opening(error: OSError) -> str:
    """Which file cannot be opened, and why; only the latter where the system names no file."""
    return f"open {error.filename}: {reason(error)}" if error.filename else reason(error)
