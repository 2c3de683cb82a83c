"""Whose key is used, and where it may be sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bydawn.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

READ_TIMEOUT_S = 60.0
"""How long an answer may stay silent. OpenAI's own client waits 600 s; a lost answer costs us a look, not a batch."""

HIDDEN = "***"
"""What is shown in a key's place."""


class Secret:
    """A text that does not show itself in logs, tracebacks or reprs.

    Raises ConfigError, without the text, when it cannot be sent in a header: keys copied with a line break or a
    typographic character are common.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        text = text.strip()
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ConfigError(
                "the key holds a space, a line break or a character that is not ASCII",
                hint="Copy the key again; it is one word of letters, digits, '-' and '_'.",
            )
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    __str__ = __repr__


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A key and the service it is for. ``headers`` go with every call (organisation or project, for example).

    Raises ConfigError when ``base_url`` is no http(s) address.
    """

    provider: str
    base_url: str
    key: Secret
    name: str = "default"
    headers: Mapping[str, str] = field(default_factory=dict)
    read_timeout_s: float = READ_TIMEOUT_S

    def __post_init__(self) -> None:
        url = urlsplit(self.base_url)
        if url.scheme not in {"http", "https"} or not url.hostname or url.username or url.query or url.fragment:
            raise ConfigError(
                f"the base URL of {self.provider} is no plain http(s) address",
                hint="Write it like https://api.openai.com/v1, without user name, query or fragment.",
            )

    def url(self, path: str) -> str:
        """Return the address of ``path``, which must start with one slash: keys never leave this origin."""
        assert path.startswith("/"), path
        return self.base_url.rstrip("/") + path

    @property
    def is_local(self) -> bool:
        """Whether the service is on this machine, where no proxy may stand in between."""
        return urlsplit(self.base_url).hostname in {"127.0.0.1", "::1", "localhost"}

    @property
    def is_encrypted(self) -> bool:
        """Whether calls go over TLS."""
        return urlsplit(self.base_url).scheme == "https"
