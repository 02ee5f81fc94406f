"""`Config` is a frozen dataclass as far as anybody can tell."""

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from inspect import Parameter, signature

import pytest

from pykvd.config import Config


def test_arguments_are_by_keyword_and_have_defaults() -> None:
    parameters = signature(Config).parameters
    assert list(parameters) == [field.name for field in fields(Config)]
    assert {parameter.kind for parameter in parameters.values()} == {Parameter.KEYWORD_ONLY}
    assert parameters["name"].default == Config().name == "default"


def test_an_unknown_argument_is_named() -> None:
    with pytest.raises(TypeError, match=r"Config\(\) got an unexpected keyword argument 'nam'"):
        Config(nam="m1")  # type: ignore[call-arg]


def test_it_does_not_change() -> None:
    config = Config(name="m1")
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'name'"):
        config.name = "m2"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'name'"):
        del config.name
    assert config == Config(name="m1")


def test_a_replaced_value_is_completed_as_a_given_one() -> None:
    config = replace(Config(name="m1", data_dir="d"), data_dir="", snapshot_count=0)
    assert config.data_dir == "m1.etcd"
    assert config.snapshot_count == Config().snapshot_count


def test_equal_values_make_equal_configurations() -> None:
    one, other = Config(name="m1", max_txn_ops=7), Config(max_txn_ops=7, name="m1")
    assert one == other
    assert hash(one) == hash(other)
    assert one != replace(other, max_txn_ops=8)
    assert one != "m1"
    assert "name='m1'" in repr(one)
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
