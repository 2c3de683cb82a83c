"""What the fact book answers, what it warns of, and how a user's own facts are laid over it."""

from __future__ import annotations

import datetime as dt
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bydawn.adapt import FactBook, ModelFacts, load_facts
from bydawn.core.model import ModelRef
from bydawn.errors import ConfigError

TODAY = dt.date(2026, 11, 22)
FACTS = load_facts()
SHEET: dict[str, Any] = tomllib.loads(
    (Path(__file__).parents[3] / "src/bydawn/adapt/facts/openai.toml").read_text("utf-8")
)


def facts_of(name: str, book: FactBook = FACTS) -> ModelFacts:
    return book.model(ModelRef("openai", name))


def own(**tables: Any) -> FactBook:
    return load_facts({"openai": tables})


@pytest.mark.parametrize(
    ("name", "shutdown", "replacement"),
    [
        ("o1-preview", "2025-07-28", None),
        ("o1-mini", "2025-10-27", None),
        ("o3-mini", "2026-10-23", None),
        ("gpt-3.5-turbo-1106", "2026-09-28", None),
        ("gpt-4o-2024-05-13", "2026-10-23", None),
        ("gpt-5-nano", "2026-12-11", None),
        ("gpt-4o-mini-2024-07-18", "2027-01-14", "gpt-6-luna"),
        ("ft:gpt-4.1-mini-2025-04-14:org::id", "2027-01-14", "gpt-6-luna"),
        ("gpt-5.1", "2027-04-01", None),
        ("gpt-5.6-sol", None, None),
        ("gpt-6.2-astra", None, None),
        ("gpt-7-nova", None, None),
    ],
)
def test_announced_ends(name: str, shutdown: str | None, replacement: str | None) -> None:
    facts = facts_of(name)
    assert facts.shutdown == (dt.date.fromisoformat(shutdown) if shutdown else None)
    assert facts.replacement == replacement


@pytest.mark.parametrize(
    ("name", "kind", "endpoints", "batch"),
    [
        ("gpt-4o-mini", "chat", ("chat", "responses"), True),
        ("gpt-4o-mini-2024-07-18", "chat", ("chat", "responses"), True),
        ("ft:gpt-4o-mini-2024-07-18:org::id", "chat", ("chat", "responses"), None),
        ("o1-mini", "chat", ("chat",), None),
        ("gpt-5.4-pro", "chat", ("responses",), True),
        ("gpt-5.3-codex", "chat", ("responses",), False),
        ("gpt-6.1-terra", "chat", ("chat", "responses"), True),
        ("gpt-6.2-sol", "chat", ("chat", "responses"), None),
        ("gpt-5-chat-latest", "chat", ("chat", "responses"), False),
        ("text-embedding-3-large", "embeddings", ("embeddings",), True),
        ("omni-moderation-latest", "moderations", ("moderations",), True),
        ("gpt-3.5-turbo-instruct", "completions", ("completions",), None),
        ("gpt-4o-realtime-preview", "realtime", (), False),
        ("gpt-4o-mini-transcribe", "transcription", (), False),
        ("gpt-4o-mini-tts", "speech", (), False),
    ],
)
def test_kinds_endpoints_and_eligibility(name: str, kind: str, endpoints: tuple[str, ...], batch: bool | None) -> None:
    facts = facts_of(name)
    assert (facts.known, facts.kind, facts.endpoints, facts.batch) == (True, kind, endpoints, batch)


@pytest.mark.parametrize("ref", [ModelRef("openai", "gpt-7-nova"), ModelRef("nobody", "gpt-4o"), ModelRef("", "")])
def test_an_unknown_model_is_no_error(ref: ModelRef) -> None:
    facts = FACTS.model(ref)
    assert not facts.known
    assert facts.rules == ()
    assert facts.warnings(TODAY) == []


def test_asking_twice_gives_the_same_facts() -> None:
    assert facts_of("gpt-4o") is facts_of("gpt-4o")


def test_embeddings_have_their_length() -> None:
    names = ["text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002", "gpt-4o"]
    assert [facts_of(name).dimensions for name in names] == [1536, 3072, 1536, None]


@pytest.mark.parametrize(
    ("today", "said"),
    [
        ("2026-11-22", "openai/gpt-4o-mini ends in 53 days, on 2027-01-14; the provider names gpt-6-luna"),
        ("2027-01-13", "ends in 1 day, on"),
        ("2027-01-14", "WAS ANNOUNCED TO END on 2027-01-14 (today)"),
        ("2027-01-15", "WAS ANNOUNCED TO END on 2027-01-14 (1 day ago)"),
    ],
)
def test_an_end_is_announced_before_and_shouted_after(today: str, said: str) -> None:
    (warning,) = facts_of("gpt-4o-mini").warnings(dt.date.fromisoformat(today))
    assert said in warning


def test_what_batches_do_not_take_is_warned_of() -> None:
    (warning,) = facts_of("gpt-realtime-2").warnings(TODAY)
    assert "openai/gpt-realtime-2 is not eligible for batches (confirmed)" in warning


def test_models_lists_names_that_fit() -> None:
    names = [facts.ref.name for facts in FACTS.models("openai/gpt-4o-mini*")]
    assert names == ["gpt-4o-mini", "gpt-4o-mini-2024-07-18"]
    assert [str(facts.ref) for facts in FACTS.models("o3-mini")] == ["openai/o3-mini"]
    assert FACTS.models("openai/nothing*") == []
    everything = FACTS.models()
    assert len(everything) == len({facts.ref for facts in everything}) > 60
    assert all(facts.known and facts.kind for facts in everything)


def test_rules_can_be_printed() -> None:
    rows = {(row.parameter, row.endpoints): row for row in facts_of("o3-mini").rules}
    temperature = rows["temperature", ("chat",)]
    assert temperature.effect == "dropped unless 1"
    assert temperature.source
    assert temperature.certainty == "confirmed"
    assert rows["max_tokens", ("chat",)].effect == "renamed to max_completion_tokens"
    assert rows["reasoning_effort", ("chat",)].effect.startswith("low, medium, high (default medium)")
    assert rows["top_p", ("chat", "responses")].effect == "dropped"


def test_every_source_cited_is_spelled_out_and_every_one_spelled_out_is_cited() -> None:
    entries = [*SHEET["model"], *SHEET["effort"], *SHEET["rule"]]
    assert {key for entry in entries for key in entry["sources"]} == set(SHEET["sources"])


def test_rule_names_are_unique() -> None:
    names = [rule["name"] for rule in SHEET["rule"]]
    assert len(names) == len(set(names))


def test_every_listed_model_has_all_it_needs() -> None:
    """No listed name may fall through the family tables."""
    for facts in FACTS.models():
        assert facts.source, facts.ref
        assert facts.certainty, facts.ref
        assert facts.checked == SHEET["checked"]
        assert facts.endpoints or facts.kind in {"realtime", "speech", "transcription", "images"}, facts.ref


# --- a user's own facts ---


def test_an_own_rule_replaces_the_shipped_one_of_its_name() -> None:
    """Someone finds that o3-mini takes temperatures up to 1."""
    rule = {
        "name": "fixed-temperature",
        "kind": "clamp",
        "models": ["o3-mini"],
        "parameters": ["temperature"],
        "at_most": 1,
    }
    book = own(rule=[rule])
    out, made = book.adapter(ModelRef("openai", "o3-mini"), "chat").adapt({"temperature": 1.5})
    assert out == {"temperature": 1}
    assert [done.source for done in made] == ["your settings"]
    assert book.adapter(ModelRef("openai", "gpt-5"), "chat").adapt({"temperature": 0.5})[1] == ()


def test_a_shipped_rule_can_be_switched_off() -> None:
    book = own(rule=[{"name": "no-stop", "kind": "off"}])
    assert book.adapter(ModelRef("openai", "o3"), "chat").adapt({"stop": "x"})[1] == ()
    assert "no-stop" not in {row.rule for row in facts_of("o3", book).rules}


def test_a_new_rule_is_added() -> None:
    rule = {"name": "no-seed", "kind": "drop", "parameters": ["seed"], "why": "we want {model} unseeded"}
    out, made = own(rule=[rule]).adapter(ModelRef("openai", "gpt-4o"), "chat").adapt({"seed": 1, "n": 1})
    assert out == {"n": 1}
    assert [done.detail for done in made] == ["we want openai/gpt-4o unseeded"]


def test_an_own_table_makes_an_unknown_model_known() -> None:
    model = {"match": ["gpt-7-*"], "kind": "chat", "endpoints": ["responses"], "shutdown": dt.date(2030, 1, 1)}
    effort = {"models": ["gpt-7-*"], "values": ["high"]}
    book = own(model=[model], effort=[effort])
    facts = facts_of("gpt-7-nova", book)
    assert (facts.known, facts.endpoints, facts.shutdown) == (True, ("responses",), dt.date(2030, 1, 1))
    body = {"reasoning": {"effort": "low"}}
    assert [done.parameter for done in book.adapter(facts.ref, "responses").adapt(body)[1]] == ["reasoning.effort"]


def test_an_own_table_changes_only_what_it_states() -> None:
    facts = facts_of("gpt-4o-mini", own(model=[{"match": ["gpt-4o-mini"], "shutdown": dt.date(2028, 1, 1)}]))
    assert (facts.shutdown, facts.replacement) == (dt.date(2028, 1, 1), None)
    assert (facts.endpoints, facts.batch) == (("chat", "responses"), True)


def test_facts_of_a_provider_that_ships_none() -> None:
    rule = {"name": "no-n", "kind": "drop", "parameters": ["n"]}
    book = load_facts({"local": {"model": [{"match": ["*"], "kind": "chat"}], "rule": [rule]}})
    assert book.adapter(ModelRef("local", "tiny"), "chat").adapt({"n": 2})[0] == {}


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"openai": {"rules": []}}, "rules"),
        ({"openai": {"rule": [{"name": "x", "kind": "explode"}]}}, "explode"),
        ({"openai": {"rule": [{"name": "x", "kind": "drop"}]}}, "parameters"),
        ({"openai": {"rule": [{"name": "x", "kind": "drop", "parameters": ["n"], "endpoints": ["talk"]}]}}, "talk"),
        ({"openai": {"model": [{"match": ["x"], "shutdown": "soon"}]}}, "shutdown"),
        ({"openai": {"effort": [{"models": ["x"], "values": ["ultra"]}]}}, "ultra"),
        ({"openai": []}, "openai"),
    ],
)
def test_facts_of_a_wrong_shape_are_a_config_error_that_names_them(overrides: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_facts(overrides)
