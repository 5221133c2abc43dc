"""Fingerprint of a feature's code: the function and the helpers of its package that it calls.

Comments, docstrings and formatting do not change it; a changed line of code does.
"""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from types import CodeType, FunctionType
from typing import Any

__all__ = ["fingerprint"]


@cache
def fingerprint(function: Callable[..., Any]) -> str:
    """SHA-256 over the code of a function and of the functions that it reaches in its package.

    Args:
        function: a Python function.

    Returns:
        Hexadecimal digest, the same in every process.
    """
    digest = hashlib.sha256()
    for name, code in sorted(_reachable(function).items()):
        digest.update(f"{name}\0{code}\0".encode())
    return digest.hexdigest()


def _reachable(function: Callable[..., Any]) -> dict[str, str]:
    """Canonical code by qualified name of the function and its helpers, each once."""
    packages = {_package(function), _package(_reachable)}
    found: dict[str, str] = {}
    pending = [_python(function)]
    while pending:
        current = pending.pop()
        if current is None:
            continue
        name = f"{current.__module__}.{current.__qualname__}"
        if name in found:
            continue
        found[name] = _canonical(current)
        for used in _names(current.__code__):
            value = current.__globals__.get(used)
            helper = _python(value)
            if helper is not None and _package(helper) in packages:
                pending.append(helper)
            elif isinstance(value, int | float | str | tuple):
                found[f"{current.__module__}.{used}"] = repr(value)
    return found


def _python(value: object) -> FunctionType | None:
    """The Python function behind a value, also where it is wrapped, compiled by numba or a step."""
    value = getattr(value, "py_func", value)
    value = getattr(value, "function", value)
    value = inspect.unwrap(value) if callable(value) else value
    return value if isinstance(value, FunctionType) else None


def _package(function: Callable[..., Any]) -> str:
    return function.__module__.split(".")[0]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


@cache
def _canonical(function: FunctionType) -> str:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):
        # Code typed at a prompt has no source; bytecode tells one definition from another, too.
        return f"{function.__code__.co_code.hex()}{function.__code__.co_consts!r}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)
