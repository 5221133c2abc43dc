"""Digest of the code that runs: what a cached value must have been computed by.

It reads the functions as they are in this process, not their files: a file may have been changed
since it was imported. From a function it follows what its code names, as far as that is code of the
project or of the user: other functions, compiled ones, classes, modules, and constants whatever
their type. Of libraries the version counts. Too much is harmless here, as it costs a computation;
too little would give a stale value.
"""

import dataclasses
import functools
import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import numpy as np

__all__ = ["running_code"]

_PLAIN = (int, float, complex, str, bytes, bool, type(None))
_LIBRARIES = tuple(
    str(Path(sysconfig.get_path(name))) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_OURS = frozenset({"features", "markets", "risk"})


def running_code(functions: Iterable[object]) -> str:
    """SHA-256 over the functions and all that they reach.

    Args:
        functions: Python functions, compiled ones, classes, or objects that hold such.

    Returns:
        Hexadecimal digest, the same in every process that runs the same code.
    """
    roots = tuple(functions)
    mark = tuple(map(id, roots))
    known = _KNOWN.get(mark)
    if known is None or not known.still():
        known = _Walk(roots)
        for function in roots:
            known.visit(function, frozenset())
        _KNOWN[mark] = known
    return known.digest()


class _Walk:
    """What has been reached, each thing once."""

    def __init__(self, roots: tuple[object, ...]) -> None:
        # Kept alive, so that nothing else gets their identities.
        self._roots = roots
        self._seen: dict[tuple[int, frozenset[str]], object] = {}
        self._texts: list[str] = []
        self._digest: str | None = None
        self._links: list[tuple[Mapping[str, object], str, object]] = []
        self._codes: list[tuple[FunctionType, CodeType]] = []
        self._contents: list[tuple[object, str]] = []
        self._mutable = False

    def digest(self) -> str:
        """SHA-256 over the texts, in the order in which the code names them."""
        if self._digest is None:
            self._digest = hashlib.sha256("\0".join(self._texts).encode()).hexdigest()
        return self._digest

    def still(self) -> bool:
        """Whether every name still means what it meant; a module may be imported again."""
        return (
            not self._mutable
            and all(names.get(name) is value for names, name, value in self._links)
            and all(function.__code__ is code for function, code in self._codes)
            and all(repr(value) == text for value, text in self._contents)
        )

    def visit(self, value: object, names: frozenset[str]) -> None:
        """Take in a value; `names` are those that the code that reached it uses, for modules."""
        if isinstance(value, _PLAIN):
            self._texts.append(f"{type(value).__name__} {value!r}")
            return
        mark = (id(value), names if isinstance(value, ModuleType) else frozenset())
        if mark in self._seen:
            return
        # Kept alive with its mark: another object must not get the same identity meanwhile.
        self._seen[mark] = value
        if isinstance(value, ModuleType):
            self._module(value, names)
        elif isinstance(value, FunctionType):
            self._function(value)
        elif not self._container(value, names):
            self._other(value, names)

    def _function(self, function: FunctionType) -> None:
        module = sys.modules.get(function.__module__ or "")
        self._texts.append(f"function {function.__module__}.{function.__qualname__}")
        if module is not None and not _own(module):
            self._library(module)
            return
        self._codes.append((function, function.__code__))
        names = _names(function.__code__)
        self._texts.append(_text(function.__code__))
        self.visit(function.__defaults__, names)
        self.visit(tuple((function.__kwdefaults__ or {}).items()), names)
        for cell in function.__closure__ or ():
            self.visit(_content(cell), names)
        for name in sorted(names):
            if name in function.__globals__:
                self._follow(function.__globals__, name, names)
            elif isinstance(imported := sys.modules.get(name), ModuleType):
                self.visit(imported, names)  # imported within the function

    def _module(self, module: ModuleType, names: frozenset[str]) -> None:
        self._texts.append(f"module {module.__name__}")
        if not _own(module):
            self._library(module)
            return
        for name in sorted(names & vars(module).keys()):
            self._follow(vars(module), name, names)

    def _follow(self, space: Mapping[str, object], name: str, names: frozenset[str]) -> None:
        self._texts.append(name)
        self._links.append((space, name, space[name]))
        self.visit(space[name], names)

    def _container(self, value: object, names: frozenset[str]) -> bool:
        if isinstance(value, np.ndarray):
            raw = value.tobytes() if value.dtype != object else repr(value.tolist()).encode()
            digest = hashlib.sha256(raw).hexdigest()
            self._texts.append(f"array {value.dtype.str} {value.shape} {digest}")
            self._mutable |= value.flags.writeable
        elif isinstance(value, tuple | list):
            self._texts.append(f"{type(value).__name__} {len(value)}")
            self._remember(value)
            for item in value:
                self.visit(item, names)
        elif isinstance(value, Mapping):
            self._texts.append(f"{type(value).__name__} {len(value)}")
            self._remember(value)
            for key, item in value.items():
                self.visit(key, names)
                self.visit(item, names)
        elif isinstance(value, set | frozenset):
            self._texts.append(f"{type(value).__name__} {sorted(map(repr, value))}")
            self._remember(value)
        else:
            return False
        return True

    def _remember(self, value: object) -> None:
        """Note a container that may change; its text tells it where it holds plain data alone."""
        if not isinstance(value, tuple | frozenset):
            self._contents.append((value, repr(value)))
            self._mutable |= not _is_plain(value)

    def _other(self, value: object, names: frozenset[str]) -> None:
        """Compiled and wrapped functions, classes, and instances."""
        compiled = getattr(value, "py_func", None) or getattr(value, "__wrapped__", None)
        if compiled is not None:
            self.visit(compiled, names)
            return
        if isinstance(value, functools.partial):
            self.visit((value.func, value.args, value.keywords), names)
            return
        if isinstance(value, np.generic):
            self._texts.append(f"{value.dtype.str} {value!r}")
            return
        kind = value if isinstance(value, type) else type(value)
        self._texts.append(f"{kind.__module__}.{kind.__qualname__}")
        module = sys.modules.get(kind.__module__)
        if module is not None and not _own(module):
            name = getattr(value, "__name__", None)
            self._texts.append(str(name))
            self._library(module)
            return
        for base in kind.__mro__[:-1]:
            self._members(base, names)
        if not isinstance(value, type):
            self._instance(value, names)

    def _instance(self, value: object, names: frozenset[str]) -> None:
        held = vars(value) if hasattr(value, "__dict__") else {}
        if dataclasses.is_dataclass(value):
            fields = [field.name for field in dataclasses.fields(value)]
            held = {name: getattr(value, name) for name in fields}
        frozen = getattr(getattr(value, "__dataclass_params__", None), "frozen", False)
        self._mutable |= not frozen
        for name, item in held.items():
            self._texts.append(name)
            self.visit(item, names)

    def _members(self, kind: type, names: frozenset[str]) -> None:
        module = sys.modules.get(kind.__module__)
        if module is None or not _own(module):
            return
        generated = dataclasses.is_dataclass(kind)
        for name, member in sorted(vars(kind).items()):
            if name.startswith("__") and (generated or isinstance(member, _PLAIN)):
                continue
            function = getattr(member, "__func__", getattr(member, "fget", member))
            function = getattr(function, "func", function)
            if isinstance(function, (FunctionType, *_PLAIN)):
                self._texts.append(name)
                self._links.append((vars(kind), name, member))
                self.visit(function, names)

    def _library(self, module: ModuleType) -> None:
        top = sys.modules.get(module.__name__.partition(".")[0], module)
        self._texts.append(f"{top.__name__} {getattr(top, '__version__', '')}")


_KNOWN: dict[tuple[int, ...], _Walk] = {}
"""Of functions asked for before; asked again, it is only looked whether names changed meaning."""


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.keys())) and all(map(_is_plain, value.values()))
    if isinstance(value, tuple | list | set | frozenset):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _own(module: ModuleType) -> bool:
    """Whether a module is the project's or the user's code."""
    if module.__name__.partition(".")[0] in _OURS:
        return True
    file = getattr(module, "__file__", None)
    return file is not None and not file.startswith(_LIBRARIES)


@functools.cache
def _text(code: CodeType) -> str:
    """What a code object does: neither comments nor places of lines change it."""
    texts = [
        code.co_code.hex(),
        repr(code.co_names),
        repr(code.co_varnames),
        repr(code.co_freevars),
        repr((code.co_argcount, code.co_kwonlyargcount, code.co_flags)),
    ]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            texts.append(_text(constant))
        elif isinstance(constant, frozenset):
            texts.append(repr(sorted(map(repr, constant))))
        else:
            texts.append(repr(constant))
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


@functools.cache
def _names(code: CodeType) -> frozenset[str]:
    within = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return frozenset(code.co_names).union(*within)


def _content(cell: object) -> object:
    try:
        return cell.cell_contents  # type: ignore[attr-defined] # of CellType
    except ValueError:  # a name that is not bound yet
        return None
