"""One fault: a few words of one function of ours are other words while the fault is in, in this process only; no file is changed.

The function keeps its identity and gets other code, so that it is broken for everybody who holds it, however they came by it.
"""

import contextlib
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType


@dataclass(frozen=True, slots=True)
class Fault:
    """`before` stands exactly once in `function` (a qualified name) of `module`. Who uses `api` is harmed; `sections` should notice, and are tried first."""

    name: str
    sentence: str
    api: str
    sections: tuple[str, ...]
    module: str
    function: str
    before: str
    after: str

    @contextlib.contextmanager
    def injected(self) -> Iterator[None]:
        """The function is broken within. Raises ValueError where the fault does not fit the function any more."""
        module = importlib.import_module(self.module)
        function = self._found(module)
        whole = function.__code__
        function.__code__ = self._broken(module, function)
        try:
            yield
        finally:
            function.__code__ = whole

    def _found(self, module: ModuleType) -> FunctionType:
        found: object = module
        for name in self.function.split("."):
            found = inspect.getattr_static(found, name)
        if isinstance(found, property):
            found = found.fget
        if not isinstance(found, FunctionType):
            raise TypeError(f"{self.name}: {self.module}.{self.function} is no function")
        return found

    def _broken(self, module: ModuleType, function: FunctionType) -> CodeType:
        """The function's code, compiled from its module's source with the words replaced, so that all names mean what they meant."""
        lines, first = inspect.getsourcelines(function)
        source = "".join(lines)
        if source.count(self.before) != 1:
            raise TypeError(f"{self.name}: {self.before!r} stands {source.count(self.before)} times in {self.module}.{self.function}")
        path = Path(str(module.__file__))
        everything = path.read_text().splitlines(keepends=True)
        everything[first - 1 : first - 1 + len(lines)] = [source.replace(self.before, self.after)]
        for code in _within(compile("".join(everything), str(path), "exec", dont_inherit=True)):
            if code.co_qualname == self.function:
                return code
        raise TypeError(f"{self.name}: {self.function} is not in {path}")


def _within(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _within(constant)
