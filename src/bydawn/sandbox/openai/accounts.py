"""Who is calling: each key is an account of its own."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from bydawn.sandbox.openai.errors import ApiError, quota_exceeded

if TYPE_CHECKING:
    from starlette.requests import Request

    from bydawn.sandbox.config import SandboxConfig

_KEYS_PAGE = "https://platform.openai.com/account/api-keys"


def admit(request: Request, config: SandboxConfig, *, writes: bool, costs: bool) -> str:
    """The account behind the request's key. Raises ApiError 401, 403 or 429."""
    key = _key_of(request)
    if not key:
        message = (
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer"
            f" auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from {_KEYS_PAGE}."
        )
        raise ApiError(401, message)
    if not key.startswith("sk-") or key in config.revoked_keys:
        message = f"Incorrect API key provided: {_masked(key)}. You can find your API key at {_KEYS_PAGE}."
        raise ApiError(401, message, code="invalid_api_key")
    if writes and key in config.unscoped_keys:
        message = "You have insufficient permissions for this operation. Missing scopes: api.batch.write."
        raise ApiError(403, message)
    if costs and key in config.broke_keys:
        raise quota_exceeded()
    return account_of(request)


def account_of(request: Request) -> str:
    """The account's name: a digest, so no key is ever stored."""
    return hashlib.sha256(_key_of(request).encode()).hexdigest()[:24]


def _key_of(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _masked(key: str) -> str:
    return f"{key[:3]}{'*' * 8}{key[-4:]}" if len(key) > 12 else "*" * len(key)
