"""Names of models as users write them: ``provider/name``."""

from __future__ import annotations

from dataclasses import dataclass

from bydawn.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A provider and the model's name there. The name may itself hold slashes or colons (fine-tuned models)."""

    provider: str
    name: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}"


def parse_model(text: str, providers: frozenset[str], default_provider: str | None = None) -> ModelRef:
    """Read ``provider/name``, or a bare name where ``default_provider`` says whose it is.

    Raises ConfigError when no provider is named or known.
    """
    head, slash, tail = text.partition("/")
    if slash and head in providers and not tail:
        raise ConfigError(f"{text!r} names a provider and no model", hint=f"Write {head}/name.")
    if slash and head in providers and tail:
        return ModelRef(head, tail)
    if default_provider is not None and text:
        return ModelRef(default_provider, text)
    known = ", ".join(sorted(providers))
    raise ConfigError(
        f"model {text!r} does not name a known provider",
        hint=f"Write provider/name, for example openai/gpt-4o-mini. Known providers: {known}.",
    )
