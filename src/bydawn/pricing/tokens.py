"""How many tokens a text has, judged by its bytes alone.

Tokenizers fetch large tables over the network and differ by model; limits and budgets need a bound, not the number.
What matters is that byte-level BPE (all of OpenAI's tokenizers) never makes more tokens than there are UTF-8 bytes.
Count the bytes of the whole request line: its JSON framing outweighs the few tokens that providers add per message.

Pictures and files that a request refers to by URL or id have tokens that no count of its bytes shows.
"""

from __future__ import annotations

LIKELY_BYTES_PER_TOKEN = 4
"""English prose with its JSON framing: what is usually seen, and OpenAI's own rule of thumb."""

SAFE_BYTES_PER_TOKEN = 3
"""Short words, code, numbers and JSON come down to about this; a third more than likely."""

SAFE_BYTES_PER_TOKEN_WIDE = 2
"""Text outside ASCII written as UTF-8: older tokenizers make more than one token of a three-byte character."""


def estimate_tokens(n_bytes: int, ascii_only: bool | None = None) -> int:
    """A safe-side estimate for filling batches up to a token quota.

    ``ascii_only`` False halves the bytes for a token where a third would do for ASCII; None means nobody looked.
    Dense text (base64, long digit strings) can exceed it: `at_most_tokens` is the bound that nothing exceeds.
    """
    per_token = SAFE_BYTES_PER_TOKEN_WIDE if ascii_only is False else SAFE_BYTES_PER_TOKEN
    return -(-n_bytes // per_token)


def likely_tokens(n_bytes: int) -> int:
    """What a text of this size usually comes to; for showing, not for limits."""
    return -(-n_bytes // LIKELY_BYTES_PER_TOKEN)


def at_most_tokens(n_bytes: int) -> int:
    """No text of this size has more tokens: one for every byte. For budgets that must hold."""
    return n_bytes
