"""Which providers there are. A new one is one line here; its codec is imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Final, cast

from bydawn.errors import ConfigError
from bydawn.providers.base import Provider

_CODECS: Final[Mapping[str, str]] = {
    "openai": "bydawn.providers.openai:OpenAI",
}
"""Where each provider's codec is: module and class."""


class _Providers(Mapping[str, Provider]):
    """Codecs by name, each made once."""

    def __init__(self) -> None:
        self._made: dict[str, Provider] = {}

    def __getitem__(self, name: str) -> Provider:
        if name not in self._made:
            module, _, codec = _CODECS[name].partition(":")
            self._made[name] = cast("Provider", getattr(import_module(module), codec)())
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in _CODECS

    def __iter__(self) -> Iterator[str]:
        return iter(_CODECS)

    def __len__(self) -> int:
        return len(_CODECS)


PROVIDERS: Final[Mapping[str, Provider]] = _Providers()


def get_provider(name: str) -> Provider:
    """Return a provider's codec. Raises ConfigError when there is none of that name."""
    try:
        return PROVIDERS[name]
    except KeyError:
        known = ", ".join(PROVIDERS)
        raise ConfigError(f"there is no provider {name!r}", hint=f"Known providers: {known}.") from None
