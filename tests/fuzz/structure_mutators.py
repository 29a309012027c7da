"""Damage that keeps the format of a file: JSON, safetensors, Parquet, pickle, text. Readers notice it later."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fuzz.mutators import Rng

NUMBERS = (0, -1, 1, 7, 2**31, -(2**31) - 1, 2**63, 10**30, 1e308, -1e308, 1e-320, 0.5, 1.5, -0.25)
NOT_FINITE = (float("nan"), float("inf"), -float("inf"))
OTHERS = (None, True, "", "x" * 2000, "../../etc/passwd", "\ud800", [], {}, [[[[]]]], {"a": {"b": {}}}, "nan", "0")
DEEP = 3000


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) below a document."""
    places, pending = [], [document]
    while pending:
        container = pending.pop()
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in list(items):
            places.append((container, key))
            if isinstance(value, dict | list):
                pending.append(value)
    return places


def mutate_tree(document: Any, rng: Rng) -> tuple[Any, str]:
    """Change one to three values of a tree of dictionaries and lists."""
    document, names = copy.deepcopy(document), []
    for _ in range(int(rng.integers(1, 4))):
        places = _places(document)
        if not places:
            break
        container, key = places[int(rng.integers(len(places)))]
        names.append(_change(container, key, places, rng))
    return document, "+".join(names)


def _change(container: Any, key: Any, places: list[tuple[Any, Any]], rng: Rng) -> str:
    kind = ("number", "not finite", "other type", "remove", "rename", "swap", "repeat")[int(rng.integers(7))]
    if kind == "number":
        container[key] = NUMBERS[int(rng.integers(len(NUMBERS)))]
    elif kind == "not finite":
        container[key] = NOT_FINITE[int(rng.integers(3))]
    elif kind == "other type":
        container[key] = copy.deepcopy(OTHERS[int(rng.integers(len(OTHERS)))])
    elif kind == "remove":
        del container[key]
    elif kind == "rename" and isinstance(container, dict):
        container[f"{key}x"] = container.pop(key)
    elif kind == "repeat" and isinstance(container, list):
        container.extend([container[key]] * int(rng.integers(1, 50)))
    else:
        other, name = places[int(rng.integers(len(places)))]
        if (isinstance(other, dict) and name not in other) or (isinstance(other, list) and name >= len(other)):
            return "nothing"
        first, second = container[key], other[name]
        if not isinstance(first, dict | list) and not isinstance(second, dict | list):  # else a tree inside itself
            container[key], other[name] = second, first
    return kind


def mutate_json(content: bytes, rng: Rng) -> tuple[bytes, str]:
    """Change values of a JSON file; sometimes nest it deeply or give a key twice."""
    choice = rng.random()
    if choice < 0.05:
        return b"[" * DEEP + content + b"]" * DEEP, "deep"
    document, names = mutate_tree(json.loads(content), rng)
    text = json.dumps(document, indent=2)
    if choice < 0.12 and isinstance(document, dict) and document:
        key = list(document)[int(rng.integers(len(document)))]
        text = "{" + f"{json.dumps(key)}: 0, " + text.lstrip()[1:]
        names += "+key twice"
    return text.encode("utf-8", "surrogatepass"), f"json {names}"


def mutate_safetensors(content: bytes, rng: Rng) -> tuple[bytes, str]:
    """Change the header of a safetensors file, or numbers in its arrays."""
    end = 8 + int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8:end]), content[end:]
    if rng.random() < 0.5:
        changed, names = _mutate_header(header, rng)
        text = json.dumps(changed).encode("utf-8", "surrogatepass")
        return len(text).to_bytes(8, "little") + text + data, f"header {names}"
    arrays = [name for name in header if name != "__metadata__"]
    name = arrays[int(rng.integers(len(arrays)))]
    start, stop = header[name]["data_offsets"]
    kinds = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "I16": "<i2", "U8": "|u1"}
    values = np.frombuffer(bytearray(data[start:stop]), kinds.get(header[name]["dtype"], "|u1"))
    if len(values):
        many = rng.integers(0, len(values), int(rng.integers(1, 1 + min(len(values), 40))))
        extremes = [*NOT_FINITE, 3e38, -3e38, 0.0] if values.dtype.kind == "f" else [0, 1, -1, -(2**15), 2**15 - 1]
        values[many] = np.array(extremes)[int(rng.integers(len(extremes)))].astype(values.dtype)
    return content[:end] + data[:start] + values.tobytes() + data[stop:], f"numbers of {name}"


def _mutate_header(header: dict[str, Any], rng: Rng) -> tuple[Any, str]:
    """Change a header, or the JSON document in one of its metadata entries."""
    entries = {name: text for name, text in header.get("__metadata__", {}).items() if text[:1] in ("{", "[")}
    if not entries or rng.random() < 0.5:
        return mutate_tree(header, rng)
    name = list(entries)[int(rng.integers(len(entries)))]
    document, names = mutate_tree(json.loads(entries[name]), rng)
    changed = {**header["__metadata__"], name: json.dumps(document, sort_keys=True)}
    return {**header, "__metadata__": changed}, f"{name} {names}"


def mutate_parquet(content: bytes, rng: Rng) -> tuple[bytes, str]:
    """Write a Parquet table again with changed cells, columns, rows or metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    types = {name: table.schema.field(name).type for name in table.column_names}
    name = table.column_names[int(rng.integers(table.num_columns))]
    kind = ("cells", "shuffle", "drop", "type", "metadata", "rows", "repeat")[int(rng.integers(7))]
    if kind == "cells":
        columns[name][int(rng.integers(table.num_rows))] = _cell(types[name], rng)
    elif kind == "shuffle":
        columns[name] = [columns[name][i] for i in rng.permutation(table.num_rows)]
    elif kind == "drop":
        del columns[name], types[name]
    elif kind == "type":
        columns[name], types[name] = list(range(table.num_rows)), pa.int64()
    elif kind == "metadata":
        metadata, names = mutate_tree(metadata, rng)
        metadata, kind = {str(key): str(value) for key, value in metadata.items()}, f"metadata {names}"
    else:
        order = rng.integers(0, table.num_rows, table.num_rows) if kind == "rows" else list(range(table.num_rows)) * 2
        columns = {name: [values[i] for i in order] for name, values in columns.items()}
    encoded = {key.encode("utf-8", "replace"): value.encode("utf-8", "replace") for key, value in metadata.items()}
    schema = pa.schema([(name, types[name]) for name in columns], metadata=encoded)
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array(columns[n], types[n]) for n in columns], schema=schema), out)
    return out.getvalue(), f"table {kind} {name}"


def _cell(kind: Any, rng: Rng) -> Any:
    """Return an odd value that a column of a type can hold."""
    name = str(kind)
    if name == "double":
        return (None, -0.1, 1.1, 0.25, *NOT_FINITE, 1e300)[int(rng.integers(8))]
    if name.startswith("int"):
        return (None, 0, -1, 2**31 - 1)[int(rng.integers(4))]
    text = (None, "", "../x", "/etc/passwd", "x" * 5000, "\0", "a\nb", "train")[int(rng.integers(8))]
    return [text] if name.startswith("list") else text


def mutate_pickle(content: bytes, rng: Rng) -> tuple[bytes, str]:
    """Change values of a pickled dictionary, and write it in some protocol."""
    document = pickle.loads(content, encoding="latin1")  # made by the campaign itself
    changed, names = mutate_tree(document, rng)
    protocol = int(rng.integers(0, pickle.HIGHEST_PROTOCOL + 1))
    return pickle.dumps(changed, protocol), f"pickle {protocol} {names}"


def mutate_lines(content: bytes, rng: Rng) -> tuple[bytes, str]:
    """Change cells and lines of a text file: a table or subtitles."""
    lines = content.decode("utf-8", "replace").split("\n")
    row = int(rng.integers(len(lines)))
    kind = ("cell", "repeat", "drop", "swap", "join", "separators", "long", "shift")[int(rng.integers(8))]
    if kind == "cell":
        cells = lines[row].split(",")
        odd = ("", "nan", "1e400", "-0", "0_1", "٠", '"', "'", "=1+1", "\0", "99:99:99,999", "\ufeff", "0,5", " ")
        cells[int(rng.integers(len(cells)))] = odd[int(rng.integers(len(odd)))]
        lines[row] = ",".join(cells)
    elif kind == "repeat":
        lines[row:row] = [lines[row]] * int(rng.integers(1, 2000))
    elif kind == "drop":
        del lines[row]
    elif kind == "swap":
        other = int(rng.integers(len(lines)))
        lines[row], lines[other] = lines[other], lines[row]
    elif kind == "join":
        lines[row : row + 2] = ["".join(lines[row : row + 2])]
    elif kind == "separators":
        lines = [line.replace(",", ";\t|"[int(rng.integers(3))]) for line in lines]
    elif kind == "long":
        lines[row] *= int(rng.integers(2, 20_000))
    else:
        lines[row] = "," + lines[row]
    return "\n".join(lines).encode("utf-8", "replace"), f"lines {kind}"


def mutate_json_lines(content: bytes, rng: Rng) -> tuple[bytes, str]:
    """Change values in one line of a log of JSON documents."""
    lines = content.splitlines()
    row = int(rng.integers(len(lines)))
    lines[row], damage = mutate_json(lines[row], rng)
    return b"\n".join(line.replace(b"\n", b" ") for line in lines) + b"\n", damage


STRUCTURED: dict[str, Callable[[bytes, Rng], tuple[bytes, str]]] = {
    ".json": mutate_json,
    ".jsonl": mutate_json_lines,
    ".safetensors": mutate_safetensors,
    ".parquet": mutate_parquet,
    ".pkl": mutate_pickle,
    **dict.fromkeys((".csv", ".srt", ".vtt", ".ass", ".txt"), mutate_lines),
}
