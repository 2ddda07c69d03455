"""Settings and arguments that are checked against their types, and refused in one line.

`@settings` makes a frozen dataclass, `@checked` a function: both raise `ConfigError` for a value that its type does not
allow.
"""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError, create_model
from pydantic.dataclasses import dataclass

from nanokimi.system.refusals import ConfigError, explain, explain_argument

P = ParamSpec("P")
T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def settings(cls: type[T]) -> type[T]:
    """A frozen dataclass, built by names only, that refuses what its types and its own checks do not allow."""
    made = cast(type[T], dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))(cls))
    construct = made.__init__

    @functools.wraps(construct)
    def init(self: Any, *args: Any, **given: Any) -> None:
        try:
            construct(self, *args, **given)
        except ValidationError as error:
            raise ConfigError(explain(error, cls)) from None

    made.__init__ = init
    return made


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which refuses an argument that its annotation does not allow before it runs."""
    signature, called = inspect.signature(function), function.__qualname__.removesuffix(".__init__")

    @functools.cache
    def arguments() -> Any:  # made at the first call: it takes milliseconds, and an import shall be quick
        hints = typing.get_type_hints(function, include_extras=True)
        fields = {name: (hints[name], None) for name in signature.parameters if name in hints}  # not self
        anything = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=())
        return create_model(called, __config__=anything, **cast(Any, fields))

    @functools.wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> T:
        try:
            bound = signature.bind(*args, **given)
        except TypeError:  # too few or too many: Python itself says which
            return function(*args, **given)
        try:
            found = arguments().model_validate(bound.arguments, strict=True)
        except ValidationError as error:
            raise ConfigError(f"{called}: {explain_argument(error, bound.arguments)}") from None
        bound.arguments.update({name: getattr(found, name) for name in found.model_fields_set})
        return function(*bound.args, **bound.kwargs)

    return call
