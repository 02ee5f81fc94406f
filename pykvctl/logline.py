"""Log lines on standard error, in the JSON shape of etcd's client library."""

from datetime import UTC, datetime


def log_line(
    level: str, message: str, *, logger: str = "", caller: str = "", **fields: object
) -> str:
    """One line: level, ts, logger, caller, msg, then `fields` in their order (`_` becomes `-`)."""
    # Most runs have nothing to log, and json is one more module to load.
    import json  # noqa: PLC0415

    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    line: dict[str, object] = {"level": level, "ts": stamp}
    if logger:
        line["logger"] = logger
    if caller:
        line["caller"] = caller
    line["msg"] = message
    line |= {name.replace("_", "-"): value for name, value in fields.items()}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))
