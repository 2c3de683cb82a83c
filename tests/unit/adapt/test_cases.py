"""The table of examples in cases.toml, on bodies of JSON bytes and of plain values alike."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bydawn.adapt import load_facts
from bydawn.core.model import ModelRef

CASES: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "cases.toml").read_text("utf-8"))["case"]
FACTS = load_facts()


def as_raw(body: str) -> dict[str, Any]:
    return msgspec.json.decode(body, type=dict[str, msgspec.Raw])


def plain(body: dict[str, Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(body))


@pytest.mark.parametrize("read", [as_raw, msgspec.json.decode], ids=["raw", "plain"])
@pytest.mark.parametrize("case", CASES, ids=[f"{case['model']}-{case['about']}" for case in CASES])
def test_case(case: dict[str, Any], read: Any) -> None:
    body = read(case["body"])
    before = plain(body)
    out, made = FACTS.adapter(ModelRef("openai", case["model"]), case["endpoint"]).adapt(body)
    expected = case.get("out", case["body"])
    assert plain(out) == msgspec.json.decode(expected)
    assert [f"{done.action} {done.parameter}" for done in made] == case.get("adjustments", [])
    assert plain(body) == before
    if not made:
        assert out is body


def test_every_rule_of_the_shipped_facts_has_a_case() -> None:
    """A rule that no example fires is a rule nobody has seen work."""
    fired = {
        done.rule
        for case in CASES
        for done in FACTS.adapter(ModelRef("openai", case["model"]), case["endpoint"]).adapt(as_raw(case["body"]))[1]
    }
    path = Path(__file__).parents[3] / "src/bydawn/adapt/facts/openai.toml"
    rules = {rule["name"] for rule in tomllib.loads(path.read_text("utf-8"))["rule"]}
    assert fired == rules


def test_the_same_change_is_the_same_object_for_every_row() -> None:
    """Rows are counted by the identity of their adjustments, also when the adapter is asked for again."""
    ref = ModelRef("openai", "o3-mini")
    first = FACTS.adapter(ref, "chat").adapt({"temperature": 0})[1]
    second = FACTS.adapter(ref, "chat").adapt({"temperature": 0.5, "messages": []})[1]
    assert first[0] is second[0]


def test_an_adjustment_tells_what_why_and_on_whose_word() -> None:
    (done,) = FACTS.adapter(ModelRef("openai", "o3-mini"), "chat").adapt({"max_tokens": 5})[1]
    assert done.detail == "to max_completion_tokens: openai/o3-mini refuses max_tokens"
    assert done.rule == "max-completion-tokens"
    assert "LibreChat" in done.source
    assert done.certainty == "reported"


def test_bytes_that_no_rule_looks_at_are_sent_as_they_came() -> None:
    """Also inside an object that loses a member: 1.0 stays 1.0, spaces stay spaces."""
    body = as_raw('{"input": "hi","text": {"verbosity": "low", "format": {"x":  1.0}},"max_tokens": 5}')
    out, _ = FACTS.adapter(ModelRef("openai", "gpt-4o"), "responses").adapt(body)
    assert bytes(out["text"]) == b'{"format":{"x":  1.0}}'
    assert out["input"] is body["input"]
    assert out["max_output_tokens"] is body["max_tokens"]
