"""OpenAI's error objects: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An error answer; raised anywhere while a request is handled."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": type, "param": param, "code": code}

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body."""
        return {"error": self.error}


class FileFormatError(ApiError):
    """A batch input refused at upload; its body has an odd second part."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)

    @property
    def body(self) -> dict[str, Any]:
        message = self.error["message"]
        return {"error": self.error, "detail": {"message": message, "code": None}}


def missing_parameter(name: str) -> ApiError:
    """A required field is absent."""
    return ApiError(400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def invalid_value(name: str, value: object, supported: tuple[str, ...]) -> ApiError:
    """A field holds none of its possible values."""
    message = f"Invalid value: '{value}'. Supported values are: {quoted_list(supported)}."
    return ApiError(400, message, param=name, code="invalid_value")


def invalid_type(name: str, expected: str, value: object) -> ApiError:
    """A field holds another type than `expected` (such as ``a string``)."""
    message = f"Invalid type for '{name}': expected {expected}, but got {type_name(value)} instead."
    return ApiError(400, message, param=name, code="invalid_type")


def quota_exceeded() -> ApiError:
    """The account has no money: waiting does not help."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return ApiError(429, message, type="insufficient_quota", code="insufficient_quota")


def quoted_list(values: tuple[str, ...]) -> str:
    """``'a', 'b', and 'c'``."""
    quoted = [f"'{value}'" for value in values]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


def type_name(value: object) -> str:
    """How the service names a JSON value's type, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
