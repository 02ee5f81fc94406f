"""Log files that rotate themselves."""

import gzip
from pathlib import Path

import pytest

from pykvd.logs import get_logger, open_log
from pykvd.rotation import DEFAULT_SIZE, RotationConfig

_log = get_logger("test")
LINE = "x" * 100_000


def write(path: Path, rotation: RotationConfig, mebibytes: int) -> list[Path]:
    """Log so much; the files there are then, the present one last."""
    with open_log(outputs=[str(path)], rotation=rotation):
        for _ in range(mebibytes * 11):
            _log.info(LINE)
    return [each for each in sorted(path.parent.iterdir()) if each != path] + [path]


def test_settings_are_read_as_etcd_reads_them() -> None:
    text = '{"maxsize": 7, "maxAge": 1, "MaxBackups": 2, "localtime": true, "compress": true}'
    assert RotationConfig.parse(text) == RotationConfig(7, 1, 2, True, True)
    assert RotationConfig.parse('{"maxsize": 0}').max_size == DEFAULT_SIZE


@pytest.mark.parametrize("text", ["5", "{", '{"maxsize": "a"}'])
def test_bad_settings(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        RotationConfig.parse(text)


def test_a_full_file_is_put_aside_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    files = write(path, RotationConfig(max_size=1), 3)
    assert len(files) == 3
    assert all(each.name.startswith("log-20") and each.suffix == ".json" for each in files[:-1])
    assert sum(each.read_text().count(LINE) for each in files) == 33


def test_only_so_many_old_files_are_kept_and_packed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    files = write(path, RotationConfig(max_size=1, max_backups=2, compress=True), 5)
    # The last tidying may have begun before the last rotation: it is not waited for by lines.
    assert 2 <= len(files[:-1]) <= 5
    packed = [each for each in files[:-1] if each.suffix == ".gz"]
    assert packed
    assert all(LINE in gzip.decompress(each.read_bytes()).decode() for each in packed)
