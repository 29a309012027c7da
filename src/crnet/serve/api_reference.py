"""The reference of the API for people, from the OpenAPI document. It needs no script, unlike the usual viewers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Operation:
    """A request that clients can send: its method and path, what it does, and what it takes and gives."""

    method: str
    path: str
    text: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """A document of the API: its name, what it is, and its fields."""

    name: str
    text: str
    fields: tuple[tuple[str, str], ...]


def operations(api: Mapping[str, Any]) -> list[Operation]:
    """Return every operation of an OpenAPI document."""
    return [
        Operation(method.upper(), path, operation.get("description", ""), tuple(_lines(operation)))
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    ]


def documents(api: Mapping[str, Any]) -> list[Document]:
    """Return every document of an OpenAPI document that its operations name."""
    return [
        Document(name, schema.get("description", ""), tuple(_fields(schema)))
        for name, schema in api["components"]["schemas"].items()
        if schema.get("description")
    ]


def _lines(operation: Mapping[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        optional = "" if parameter["required"] else ", optional"
        yield f"{parameter['in']} {parameter['name']}: {_kind(parameter['schema'])}{optional}"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"body: {_kind(content['schema'])} ({media_type})"
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            kinds = [
                f"{_kind(content.get('schema', {}))} ({kind})" for kind, content in response.get("content", {}).items()
            ]
            yield f"answer {status}: {', '.join(kinds) or 'empty'}"


def _fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, field in schema.get("properties", {}).items():
        text = field.get("description", "")
        yield name, f"{_kind(field)}. {text}" if text else _kind(field)


def _kind(schema: Mapping[str, Any]) -> str:
    """Return the type of a value in words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for either in ("anyOf", "oneOf"):
        if either in schema:
            return " or ".join(map(_kind, schema[either]))
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if schema.get("format") == "binary":
        return "bytes"
    return str(schema.get("const", schema.get("type", "content")))
