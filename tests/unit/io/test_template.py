"""Templates insert text and do nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bydawn.errors import ConfigError
from bydawn.io.rows import BadRow
from bydawn.io.template import Template


def row(**values: Any) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in values.items()}


def render(text: str, **values: Any) -> str:
    return Template(text).render(row(**values))


def test_inserts_text_as_it_is() -> None:
    assert render("Say {{ word }}, {{word}}!", word='a "b"\n{{ word }}') == 'Say a "b"\n{{ word }}, a "b"\n{{ word }}!'


@pytest.mark.parametrize(
    ("value", "shown"),
    [(3, "3"), (0.1, "0.1"), (True, "true"), (None, ""), ([1, "a"], '[1,"a"]'), ({"k": "é"}, '{"k":"é"}')],
)
def test_other_values_are_their_json_and_null_is_nothing(value: object, shown: str) -> None:
    assert render("<{{ v }}>", v=value) == f"<{shown}>"


def test_numbers_stay_as_they_were_written() -> None:
    raw = {
        "n": msgspec.Raw(b"1.50"),
        "big": msgspec.Raw(b"1e99999"),
        "o": msgspec.Raw(b'{"n": 10000000000000000000001}'),
    }
    assert Template("{{ n }} {{ big }} {{ o.n }}").render(raw) == "1.50 1e99999 10000000000000000000001"


def test_paths_go_into_objects_and_lists() -> None:
    assert render("{{ a.b.1.c }}", a={"b": [0, {"c": "deep"}]}) == "deep"


def test_a_column_with_spaces_or_dots_is_named_as_it_is() -> None:
    columns = {"Product name": msgspec.Raw(b'"x"'), "a.b": msgspec.Raw(b'"y"'), "a": msgspec.Raw(b'{"b":"z"}')}
    assert Template("{{ Product name }} {{ a.b }}").render(columns) == "x y"


def test_two_literal_braces() -> None:
    assert render("{{ '{{' }} x }} {{ \"{{\" }}") == "{{ x }} {{"


def test_single_braces_and_json_are_plain_text() -> None:
    assert render('{"a": {"b": {{ v }}}}', v=1) == '{"a": {"b": 1}}'


def test_an_unknown_name_tells_the_columns() -> None:
    with pytest.raises(BadRow) as caught:
        render("{{ titel }}", title="x", body="y")
    assert "titel" in caught.value.message
    assert "'title', 'body'" in caught.value.remedy


@pytest.mark.parametrize(
    "path", ["a.x", "a.b.7", "a.b.-1", "a.b.x", "a.b.0.c", "a.b.99999999999999999999", "a.b.²", "a."]
)
def test_a_path_that_leads_nowhere_is_a_bad_row(path: str) -> None:
    with pytest.raises(BadRow, match="no '"):
        render("{{ " + path + " }}", a={"b": [1]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ a", "never closes"),
        ("x {{ a }} {{", "character 11"),
        ("{{ }}", "empty"),
        ("{{ a | upper }}", "no column name"),
        ("{{{ a }}}", "no column name"),
        ("{{ 'x' }}", "no column name"),
        ("\ud800", "Unicode"),
    ],
)
def test_mistakes_in_the_template_are_configuration_errors(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Template(text)


@given(
    text=st.lists(
        st.sampled_from(["{{", "}}", "{", "}", " ", "a", ".", "0", "'", "|", "__class__", "é"]), max_size=12
    ).map("".join),
    value=st.recursive(
        st.none() | st.integers() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "0", ""]), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_weird_templates_and_values_only_ever_refuse(text: str, value: object) -> None:
    """No input makes a template run anything or fail otherwise than by its own two errors."""
    try:
        template = Template(text)
    except ConfigError:
        return
    try:
        assert isinstance(template.render(row(a=value)), str)
    except BadRow:
        return


@given(values=st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=4))
def test_whatever_stands_in_the_columns_arrives_unchanged(values: list[str]) -> None:
    names = [f"c{number}" for number in range(len(values))]
    text = "|".join("{{ " + name + " }}" for name in names)
    assert render(text, **dict(zip(names, values, strict=True))) == "|".join(values)
