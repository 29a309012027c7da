"""Read pickles of plain values without unpickling them: no code runs, and only what is admitted is ever built.

A small machine executes the few instructions that a dictionary of texts and numbers needs, and refuses every other one.
It builds nothing before it has checked the instruction against the limits. Containers cannot be shared through the
memo, so the result is a tree of bounded depth, whose hash, repr and comparison take time proportional to its size.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset(
    {
        *_CONSTANTS, "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING",
        "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    }
)  # fmt: skip
_PROTOCOL_0_VALUES = frozenset({"INT", "LONG", "FLOAT", "STRING", "UNICODE"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CALLS = frozenset({"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"})
_PLAIN_ONLY = _PROTOCOL_0_VALUES | {"DICT", "EMPTY_LIST", "LIST", "APPEND", "APPENDS"}
_NEEDED = frozenset(
    {
        *_VALUES, *_PUTS, *_GETS, *_TUPLES,
        "PROTO", "FRAME", "STOP", "MARK", "EMPTY_DICT", "SETITEM", "SETITEMS", "TUPLE",
    }
)  # fmt: skip
_MARK = object()


@dataclass(frozen=True)
class PickleLimits:
    """What a kind of file may contain.

    Attributes:
        instructions: Most instructions.
        memo: Largest number under which an object may be remembered.
        containers: Most dictionaries, lists and tuples; tuples that are arguments of a call do not count.
        depth: Most containers inside one another, the outermost included.
        plain: Whether values may also be None, bytes, truth values, lists and tuples, as in a dictionary of options,
            which calls nothing. Otherwise they are dictionaries, texts and numbers.
        calls: The functions that the file may call, by module and name. Their arguments are not checked.
        set_state: Sets the state of what a call returned.
    """

    instructions: int
    memo: int
    containers: int
    depth: int
    plain: bool = False
    calls: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    set_state: Callable[[Any, tuple[Any, ...]], None] | None = None


class RefusedPickleError(Exception):
    """The pickle uses something that such a file does not need, or more of it."""


def read_plain_pickle(content: bytes, limits: PickleLimits) -> Any:
    """Return the value in a pickle: a dictionary whose keys are texts, or another value that the limits admit.

    Args:
        content: The file's bytes. Texts of Python 2 are read as latin1.
        limits: What it may contain.

    Raises:
        RefusedPickleError: It exceeds a limit, or contains something else.
        ValueError: It is damaged.
    """
    return _Machine(limits).run(content)


@dataclass(frozen=True)
class _Function:
    """Placeholder for a function that the pickle may call."""

    name: str


@dataclass
class _Container:
    """A dictionary, list or tuple on the stack; `depth` counts the containers inside one another, itself included."""

    value: dict[str, Any] | list[Any] | tuple[Any, ...]
    depth: int = 1


class _Machine:
    """Executes the instructions of one pickle."""

    def __init__(self, limits: PickleLimits) -> None:
        self._limits = limits
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._puts = 0
        self._containers = 0
        self._actions: dict[str, Callable[[Any], None]] = {
            "MARK": lambda _: self._stack.append(_MARK),
            "EMPTY_DICT": lambda _: self._push_dictionary([]),
            "DICT": lambda _: self._push_dictionary(self._pop_to_mark()),
            "SETITEM": lambda _: self._set_items(self._pop(2)),
            "SETITEMS": lambda _: self._set_items(self._pop_to_mark()),
            "EMPTY_LIST": lambda _: self._push_list([]),
            "LIST": lambda _: self._push_list(self._pop_to_mark()),
            "APPEND": lambda _: self._append(self._pop(1)),
            "APPENDS": lambda _: self._append(self._pop_to_mark()),
            "TUPLE": lambda _: self._push_tuple(self._pop_to_mark()),
            "GLOBAL": lambda name: self._push_function(str(name)),
            "STACK_GLOBAL": lambda _: self._push_function(" ".join(map(str, self._pop(2)))),
            "REDUCE": lambda _: self._call(*self._pop(2)),
            "BUILD": lambda _: self._build(*self._pop(2)),
        }

    def run(self, content: bytes) -> Any:
        """Execute the whole pickle and return its value."""
        allowed = _NEEDED | (_PLAIN_ONLY if self._limits.plain else _CALLS)
        for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if number >= self._limits.instructions:
                _refuse(f"it has more than {self._limits.instructions} instructions")
            name = opcode.name
            if name not in allowed:
                _refuse(f"it uses the instruction {name}")
            if name in _VALUES or name in _PROTOCOL_0_VALUES:
                self._stack.append(_CONSTANTS.get(name, argument))
            elif name in _GETS:
                self._get(argument)
            elif name in _PUTS:
                self._put(self._puts if argument is None else int(argument))
            elif name in _TUPLES:
                self._push_tuple(self._pop(_TUPLES[name]))
            elif name in self._actions:
                self._actions[name](argument)
        (item,) = self._pop(1)
        return self._value(item)

    def _put(self, number: int) -> None:
        """Remember the top of the stack, except containers: sharing them would make a small file an endless tree."""
        if not 0 <= number <= self._limits.memo:
            raise ValueError(f"it stores an object under number {number}")
        self._puts += 1
        top = self._stack[-1]
        if top is not _MARK and not isinstance(top, _Container):
            self._memo[number] = top

    def _get(self, number: Any) -> None:
        if int(number) not in self._memo:
            _refuse("it repeats an object that is not a text or a number")
        self._stack.append(self._memo[int(number)])

    def _pop(self, count: int) -> list[Any]:
        start = len(self._stack) - count
        if start < 0 or _MARK in self._stack[start:]:
            _refuse("its stack runs empty")
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _push_container(self, value: dict[str, Any] | list[Any] | tuple[Any, ...]) -> _Container:
        self._containers += 1
        if self._containers > self._limits.containers:
            _refuse(f"it has more than {self._limits.containers} dictionaries, lists and tuples")
        container = _Container(value)
        self._stack.append(container)
        return container

    def _push_dictionary(self, items: list[Any]) -> None:
        self._push_container({})
        self._set_items(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1] if self._stack else None
        if not isinstance(target, _Container) or not isinstance(target.value, dict) or len(items) % 2:
            _refuse("it adds items to something that is not a dictionary")
        for key, item in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                _refuse(f"it has a key that is a {_kind(getattr(key, 'value', key))}, not text")
            if key in target.value:
                _refuse(f"it names {key!r:.100} twice")
            target.value[key] = self._value_inside(target, item)

    def _push_list(self, items: list[Any]) -> None:
        self._push_container([])
        self._append(items)

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1] if self._stack else None
        if not isinstance(target, _Container) or not isinstance(target.value, list):
            _refuse("it appends to something that is not a list")
        target.value.extend(self._value_inside(target, item) for item in items)

    def _push_tuple(self, items: list[Any]) -> None:
        if not self._limits.plain:
            if any(isinstance(item, _Container) for item in items):
                _refuse("it contains a tuple")
            self._stack.append(_Container(tuple(items)))
            return
        target = self._push_container(())
        target.value = tuple(self._value_inside(target, item) for item in items)

    def _value_inside(self, target: _Container, item: Any) -> Any:
        """Return an item of the stack as a value inside a container, which becomes as deep as that takes."""
        if isinstance(item, _Container):
            target.depth = max(target.depth, item.depth + 1)
        if target.depth > self._limits.depth:
            _refuse(f"more than {self._limits.depth} dictionaries, lists or tuples are inside one another")
        return self._value(item)

    def _value(self, item: Any) -> Any:
        """Return an item of the stack as a value of the file."""
        value = item.value if isinstance(item, _Container) else item
        if isinstance(value, str | int | float | dict) and not isinstance(value, bool):
            return value
        if not self._limits.plain or not (value is None or isinstance(value, bool | bytes | list | tuple)):
            _refuse(f"it contains a {_kind(value)}")
        return value

    def _push_function(self, name: str) -> None:
        if name not in self._limits.calls:
            _refuse(f"it uses {name.replace(' ', '.'):.200}")
        self._stack.append(_Function(name))

    def _call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, _Function) or not _is_tuple(arguments):
            _refuse("it calls something that is not a function")
        self._stack.append(self._limits.calls[function.name](*arguments.value))

    def _build(self, target: Any, state: Any) -> None:
        if self._limits.set_state is None or not _is_tuple(state):
            _refuse("it sets a state that it does not need")
        self._limits.set_state(target, state.value)
        self._stack.append(target)


def _is_tuple(item: Any) -> bool:
    return isinstance(item, _Container) and isinstance(item.value, tuple)


def _kind(value: Any) -> str:
    return "function" if isinstance(value, _Function) else type(value).__name__


def _refuse(reason: str) -> NoReturn:
    raise RefusedPickleError(reason)
