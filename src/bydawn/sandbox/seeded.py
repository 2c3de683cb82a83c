"""Made-up answers: plausible short texts, values that fit a JSON schema, unit vectors; all a function of the seed.

`Draw` is a small random source that starts much faster than ``random.Random``: an answer needs a handful of numbers,
and a batch has many answers.
"""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any

_WORDS = (
    "the", "a", "this", "one", "some", "another", "every", "no", "result", "answer", "reason", "example", "point",
    "case", "part", "question", "detail", "change", "is", "shows", "means", "gives", "keeps", "needs", "follows",
    "explains", "remains", "suggests", "because", "while", "although", "when", "so", "and", "but", "with", "without",
    "for", "from", "about", "after", "before", "clear", "short", "likely", "useful", "small", "common", "simple",
    "early", "open", "stable", "main", "very", "quite", "rather", "mostly", "often", "never", "always", "late",
    "perhaps", "new", "old",
)  # fmt: skip
"""64 of them, so that six bits choose one."""
_MASK = (1 << 64) - 1
_DEPTH_MAX = 8
_ITEMS_MAX = 3


def digest(*names: str | int) -> str:
    """32 hexadecimal digits that stand for the names."""
    return hashlib.blake2b("|".join(map(str, names)).encode(), digest_size=16).hexdigest()


class Draw:
    """Numbers from a 64-bit state (splitmix64), seeded by the texts given."""

    __slots__ = ("_state",)

    def __init__(self, *names: str | int) -> None:
        digest = hashlib.blake2b("|".join(map(str, names)).encode(), digest_size=8).digest()
        self._state = int.from_bytes(digest)

    def bits(self) -> int:
        """A 64-bit number."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        return self.bits() % n

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both possible."""
        return low + self.below(high - low + 1)

    def share(self) -> float:
        """A number from 0 up to 1."""
        return (self.bits() >> 11) / (1 << 53)

    def hex(self, length: int) -> str:
        """Lower-case hexadecimal digits."""
        assert length <= 64
        return hashlib.blake2b(self.bits().to_bytes(8), digest_size=32).hexdigest()[:length]


def sentence(draw: Draw) -> str:
    """A short sentence of common words."""
    count = draw.between(4, 16)
    bits = draw.bits() | draw.bits() << 64
    words = [_WORDS[(bits >> 6 * n) & 63] for n in range(count)]
    return " ".join(words).capitalize() + "."


def unit_vector(draw: Draw, dimensions: int) -> list[float]:
    """A vector of length 1, in single precision so that both encodings agree."""
    raw = [draw.share() * 2 - 1 for _ in range(dimensions)]
    length = math.sqrt(sum(x * x for x in raw)) or 1.0
    packed = struct.pack(f"<{dimensions}f", *(x / length for x in raw))
    return list(struct.unpack(f"<{dimensions}f", packed))


def value_for(schema: Any, draw: Draw) -> Any:
    """A value that a JSON schema accepts, for the schemas that structured output allows and a little more."""
    return _Maker(schema, draw).make(schema, 0)


class _Maker:
    def __init__(self, root: Any, draw: Draw) -> None:
        self._root = root
        self._draw = draw

    def make(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict):
            return None
        if "$ref" in schema:
            return self.make(self._resolve(schema["$ref"]), depth + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][self._draw.below(len(schema["enum"]))]
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return self.make(self._choice(schema[key], depth), depth + 1)
        if schema.get("allOf"):
            return self.make(_merged(schema), depth + 1)
        return self._of_type(schema, depth)

    def _of_type(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((name for name in kind if name != "null"), "null")
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return self._integer(schema)
            case "number":
                return self._number(schema)
            case "boolean":
                return bool(self._draw.below(2))
            case "null":
                return None
            case _:
                return self._string(schema)

    def _choice(self, options: list[Any], depth: int) -> Any:
        """One of the options; deep down the last null or plain one, so that recursive schemas end."""
        if depth >= _DEPTH_MAX:
            plain = [option for option in options if isinstance(option, dict) and option.get("type") in _PLAIN]
            return plain[-1] if plain else options[-1]
        return options[self._draw.below(len(options))]

    def _resolve(self, reference: str) -> Any:
        target = self._root
        for part in reference.removeprefix("#").split("/"):
            if part:
                target = target[part.replace("~1", "/").replace("~0", "~")]
        return target

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", [])
        return {
            name: self.make(inner, depth + 1)
            for name, inner in schema.get("properties", {}).items()
            if name in required or depth < _DEPTH_MAX
        }

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        low = schema.get("minItems", 0 if depth >= _DEPTH_MAX else 1)
        high = min(schema.get("maxItems", max(low, _ITEMS_MAX)), max(low, _ITEMS_MAX))
        count = low if depth >= _DEPTH_MAX else self._draw.between(min(low, high), high)
        leading = schema.get("prefixItems", [])
        items = [self.make(inner, depth + 1) for inner in leading]
        rest = schema.get("items", {"type": "string"})
        items += [self.make(rest, depth + 1) for _ in range(count - len(leading))]
        return items

    def _integer(self, schema: dict[str, Any]) -> int:
        step = int(schema.get("multipleOf", 1)) or 1
        low = math.ceil(_bound(schema, "minimum", "exclusiveMinimum", +1, 0) / step)
        high = math.floor(_bound(schema, "maximum", "exclusiveMaximum", -1, low * step + 100 * step) / step)
        if "minimum" not in schema and "exclusiveMinimum" not in schema:
            low = min(low, high)
        return self._draw.between(low, max(low, high)) * step

    def _number(self, schema: dict[str, Any]) -> float:
        if "multipleOf" in schema:
            return self._integer({**schema, "multipleOf": 1}) * float(schema["multipleOf"])
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        if low is None:
            low = 0.0 if high is None else min(0.0, high - 1.0)
        if high is None:
            high = low + 1.0
        return float(low + (high - low) * (0.25 + 0.5 * self._draw.share()))

    def _string(self, schema: dict[str, Any]) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = sentence(self._draw)
        while len(text) < schema.get("minLength", 0):
            text += " " + sentence(self._draw)
        return text[: schema.get("maxLength", len(text))]


_PLAIN = {"null", "string", "integer", "number", "boolean"}
_FORMATS = {
    "date-time": "2026-11-22T08:30:00Z",
    "date": "2026-11-22",
    "time": "08:30:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "6f2f2c0e-3d5b-4d0e-9d3a-0d1c8a7b5e42",
    "uri": "https://example.com/",
}


def _bound(schema: dict[str, Any], name: str, exclusive: str, step: int, default: float) -> float:
    if name in schema:
        return float(schema[name])
    if exclusive in schema:
        edge = schema[exclusive]
        inside = math.floor(edge) + 1 if step > 0 else math.ceil(edge) - 1
        return float(inside)
    return default


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """The parts of an ``allOf`` as one schema."""
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", []), *part.get("required", [])]
        merged = {**merged, **part, "properties": properties, "required": required}
    return merged
