"""Every flag of etcd is known, under all its names and with its default."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pykvd
from pykvd.config import Config, ConfigError
from pykvd.config.catalog import FLAGS, IGNORED_FLAGS, OPTIONS, START_OPTIONS
from pykvd.config.support import NO_EFFECT, REFUSED
from pykvd.config.usage import usage
from pykvd.config.values import parse_duration


def reference() -> list[tuple[str, str, str]]:
    """Flag, keys in a file, default."""
    lines = Path(__file__).with_name("flags.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return [(flag, keys, default) for flag, keys, default in rows]


@pytest.mark.parametrize(("name", "keys", "default"), reference())
def test_flag_is_known(name: str, keys: str, default: str) -> None:
    flag = FLAGS[name]
    assert ".".join(flag.file_path) == keys.replace("-", "", 1 if keys == "-" else 0)
    if flag.gate:
        assert Config().feature_gates.enabled(flag.gate) is (default == "true")
    elif flag.option not in START_OPTIONS:
        assert flag.option is not None
        value: Any = getattr(Config(), flag.option.field_name)
        if flag.kind.name == "duration":
            assert value == parse_duration(default)
        else:
            assert flag.kind.show(value) == default


def test_no_flag_is_our_own() -> None:
    assert set(FLAGS) - IGNORED_FLAGS == {flag for flag, _, _ in reference()}


def test_tables_of_unsupported_flags_name_real_ones() -> None:
    assert set(OPTIONS) >= NO_EFFECT | set(REFUSED)
    assert not NO_EFFECT & set(REFUSED)


def test_tables_of_unsupported_flags_tell_the_truth() -> None:
    """An option that they do not name is read by the server, and one that they name is not."""
    package = Path(pykvd.__file__).parent
    sources = [path for path in package.rglob("*.py") if path.parent.name not in {"config", "pb"}]
    text = "\n".join(path.read_text() for path in sources)
    read = {field.name for field in fields(Config) if re.search(rf"config\.{field.name}\b", text)}
    if "config.initial_members" in text:
        read.add("initial_cluster")
    if "config.compaction_retention" in text:
        read.add("auto_compaction_retention")
    named = {OPTIONS[flag].field_name for flag in NO_EFFECT | set(REFUSED)}
    checked_only = {"logger", "discovery_fallback"}
    assert {field.name for field in fields(Config)} - named - checked_only == read


def test_every_option_shows_and_reads_its_default() -> None:
    for option in OPTIONS.values():
        assert option.kind.parse(option.kind.show(option.default)) == option.default


def test_help_has_every_option() -> None:
    text = usage()
    assert all(f"  --{flag} " in text for flag in OPTIONS)
    assert max(map(len, text.splitlines())) <= 120


@given(
    st.sampled_from(sorted(FLAGS)),
    st.one_of(
        st.text(st.characters(codec="utf-8"), max_size=12),
        st.text("0123456789.:-=,/hms_xo[]*truefalsnixp", max_size=16),
    ),
)
def test_any_value_is_taken_or_refused_in_one_line(name: str, value: str) -> None:
    try:
        Config.from_args([f"--{name}={value}"], {})
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - most values raise nothing
