"""Log lines."""

import json
import logging
import re
import time
from pathlib import Path

import pytest

from pykvd.logs import ROOT, get_logger, open_log

_log = get_logger("api.kv")
HERE = re.escape("config/test_logs.py:")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_json_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open_log(outputs=[str(path)]):
        _log.info("opened", path=Path("/x"), took=0.5, members=("a", "b"), cluster_id=b"\xffk")
        get_logger().warn("héllo")
    first, second = path.read_text().splitlines()
    assert re.fullmatch(
        r'\{"level":"info","ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z","logger":"api\.kv",'
        rf'"caller":"{HERE}\d+","msg":"opened","path":"/x","took":0\.5,'
        r'"members":\["a","b"\],"cluster-id":"\\\\xffk"\}',
        first,
    )
    assert re.match(r'\{"level":"warn","ts":"[^"]*","caller":', second)
    assert '"msg":"héllo"}' in second


def test_console_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open_log(line_format="console", outputs=[str(path)]):
        _log.error("failed", error=OSError("no"), n=1)
    assert re.fullmatch(
        rf'[^\t]*Z\terror\tapi\.kv\t{HERE}\d+\tfailed\t\{{"error":"no","n":1\}}\n',
        path.read_text(),
    )


def test_levels(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open_log("warn", outputs=[str(path)]):
        assert not _log.enabled(logging.INFO)
        _log.debug("no")
        _log.info("no")
        _log.warn("a")
        _log.error("b")
        _log.fatal("c")
    assert [(line["level"], line["msg"]) for line in lines(path)] == [
        ("warn", "a"),
        ("error", "b"),
        ("fatal", "c"),
    ]


def test_the_timestamp_is_utc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "log"
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    with open_log(outputs=[str(path)]):
        record = logging.LogRecord(f"{ROOT}.x", logging.INFO, __file__, 1, "m", None, None)
        record.created = 1_700_000_000.000001
        logging.getLogger(record.name).handle(record)
    monkeypatch.undo()
    time.tzset()
    assert lines(path)[0]["ts"] == "2023-11-14T22:13:20.000001Z"


def test_a_field_does_not_hide_the_line_s_own(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open_log(outputs=[str(path)]):
        _log.info("m", level="x", msg="y")
    line = lines(path)[0]
    assert (line["level"], line["msg"]) == ("info", "m")
    assert (line["field.level"], line["field.msg"]) == ("x", "y")


def test_exceptions_and_plain_records(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open_log(outputs=[str(path)]):
        try:
            int("bad")
        except ValueError:
            _log.exception("broke", key="k")
        logging.getLogger(f"{ROOT}.plain").info("%d of %d", 1, 2)
    broke, plain = lines(path)
    assert (broke["msg"], broke["key"]) == ("broke", "k")
    assert broke["error"] == "invalid literal for int() with base 10: 'bad'"
    assert "Traceback" in str(broke["stacktrace"])
    assert (plain["logger"], plain["msg"]) == ("plain", "1 of 2")


def test_several_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log"
    with open_log(outputs=["stdout", "stderr", str(path)]):
        _log.info("m")
    out = capsys.readouterr()
    assert out.out == out.err == path.read_text() != ""


def test_files_are_found_again_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open_log(outputs=[str(path)]) as opened:
        _log.info("one")
        path.rename(tmp_path / "_log.1")
        opened.reopen()
        assert path.exists()
        _log.info("two")
    assert [line["msg"] for line in lines(tmp_path / "_log.1")] == ["one"]
    assert [line["msg"] for line in lines(path)] == ["two"]


def test_embedding_programs_get_readable_records_and_keep_their_handlers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = logging.getLogger(ROOT)
    assert [type(handler) for handler in root.handlers] == [logging.NullHandler]
    _log.warn("first", key="k", n=1)
    with open_log(outputs=[str(tmp_path / "log")]):
        _log.warn("hidden")
    assert [type(handler) for handler in root.handlers] == [logging.NullHandler]
    assert root.propagate
    assert [record.getMessage() for record in caplog.records] == ["first key=k n=1"]


def test_a_file_that_cannot_be_opened() -> None:
    with pytest.raises(OSError, match="/nonexistent/log"):
        open_log(outputs=["stderr", "/nonexistent/log"])
    assert [type(handler) for handler in logging.getLogger(ROOT).handlers] == [logging.NullHandler]
