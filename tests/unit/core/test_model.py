"""Names of models: provider/name, where the name may hold anything."""

from __future__ import annotations

import pytest

from bydawn.core.model import ModelRef, parse_model
from bydawn.errors import ConfigError

KNOWN = frozenset({"openai", "xai"})


@pytest.mark.parametrize("text", ["", "gpt-4o-mini", "/gpt-4o", "openai", "OpenAI/gpt-4o", "mars/gpt-4o"])
def test_a_name_without_a_known_provider_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="does not name a known provider") as caught:
        parse_model(text, KNOWN)
    assert "openai, xai" in (caught.value.hint or "")


def test_a_provider_without_a_model_is_told_so() -> None:
    with pytest.raises(ConfigError, match="names a provider and no model"):
        parse_model("openai/", KNOWN)


def test_an_empty_name_is_refused_even_with_a_default_provider() -> None:
    with pytest.raises(ConfigError):
        parse_model("", KNOWN, "openai")


@pytest.mark.parametrize(
    ("text", "default", "provider", "name"),
    [
        ("openai/gpt-4o-mini", None, "openai", "gpt-4o-mini"),
        ("openai/ft:gpt-4o:acme::x/y", None, "openai", "ft:gpt-4o:acme::x/y"),
        ("gpt-4o-mini", "openai", "openai", "gpt-4o-mini"),
        ("meta/llama-3", "openai", "openai", "meta/llama-3"),
        ("xai/grok-4.3", "openai", "xai", "grok-4.3"),
    ],
)
def test_names_are_split_at_a_known_provider(text: str, default: str | None, provider: str, name: str) -> None:
    model = parse_model(text, KNOWN, default)
    assert model == ModelRef(provider, name)
    assert str(model) == f"{provider}/{name}"
