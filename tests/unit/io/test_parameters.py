"""Parameters from options and rows: read as JSON, and checked where the type is certain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bydawn.errors import ConfigError
from bydawn.io import parse_params

if TYPE_CHECKING:
    from collections.abc import Callable


def test_values_are_json_where_they_parse_and_text_otherwise() -> None:
    assert parse_params(
        [
            "temperature=0.2",
            'stop=["x", "="]',
            "reasoning_effort=low",
            "verbosity=",
            " seed = 7",
            'user="5"',
            "store=true",
        ]
    ) == {
        "temperature": 0.2,
        "stop": ["x", "="],
        "reasoning_effort": "low",
        "verbosity": "",
        "seed": 7,
        "user": "5",
        "store": True,
    }


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("temperature", "does not set a parameter"),
        ("=3", "does not set a parameter"),
        ("model=gpt", "model is no parameter"),
        ("messages=[]", "messages is no parameter"),
        ("temperature=warm", "temperature is"),
        ("max_tokens=0", "max_tokens is 0"),
        ("max_tokens=1.5", "max_tokens is 1.5"),
        ("stream=1", "stream is 1"),
    ],
)
def test_mistakes_are_configuration_errors(option: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_params([option])


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="twice"):
        parse_params(["n=1", "n=2"])


@pytest.mark.parametrize(
    ("parameter", "remedy"),
    [
        ('"temperature": "0.2"', 'temperature is "0.2" (it must be a number)'),
        ('"temperature": 1e99999', "temperature is 1e99999"),
        ('"max_tokens": -1', "whole number of 1 or more"),
        ('"max_completion_tokens": 64.5', "max_completion_tokens is 64.5"),
        ('"max_tokens": ' + "9" * 5000, "max_tokens is 9999"),
        ('"stream": "yes"', "true or false"),
        ('"tools": {}', "a list of objects"),
        ('"stop": [1]', "text or a list of texts"),
        ('"response_format": "json"', "an object"),
    ],
)
def test_a_row_with_an_impossible_value_is_a_problem(read: Callable[..., Any], parameter: str, remedy: str) -> None:
    got = read('{"prompt": "x", ' + parameter + "}")
    assert got.lines == [1]
    assert remedy in got.messages


def test_unknown_parameters_and_odd_values_are_for_the_provider(read: Callable[..., Any]) -> None:
    got = read('{"prompt": "x", "temperature": 9.5, "frobnicate": [1], "stream": true}')
    assert not got.problems.total
    assert got.fields() == {
        "temperature": 9.5,
        "frobnicate": [1],
        "stream": True,
        "messages": [{"role": "user", "content": "x"}],
    }


def test_null_parameters_are_absent(read: Callable[..., Any]) -> None:
    assert list(read('{"prompt": "x", "temperature": null, "tools": null, "id": null}').fields()) == ["messages"]
