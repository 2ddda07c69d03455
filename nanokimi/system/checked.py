"""Settings and arguments that are checked against their types, and refused in one line.

`@settings` makes a frozen dataclass, `@checked` a function: both raise `ConfigError` for a value that its type does not
allow. `@checked` and `@fits_signature` raise it for too few, too many or unknown arguments too.
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


def fits_signature(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which refuses a call that does not fit its signature in one line that says how it is called."""
    signature, called = inspect.signature(function), function.__qualname__

    @functools.wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> T:
        _bind(signature, called, args, given)
        return function(*args, **given)

    return call


def _bind(
    signature: inspect.Signature, called: str, args: tuple[Any, ...], given: dict[str, Any]
) -> inspect.BoundArguments:
    """The arguments by their names."""
    try:
        return signature.bind(*args, **given)
    except TypeError as error:
        plain = [
            each.replace(annotation=each.empty)
            for each in signature.parameters.values()
            if each.name != "self"
        ]
        written = signature.replace(parameters=plain, return_annotation=signature.empty)
        raise ConfigError(f"{called}: {error}; it is called as {called}{written}") from None


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
        bound = _bind(signature, called, args, given)
        try:
            found = arguments().model_validate(bound.arguments, strict=True)
        except ValidationError as error:
            raise ConfigError(f"{called}: {explain_argument(error, bound.arguments)}") from None
        bound.arguments.update({name: getattr(found, name) for name in found.model_fields_set})
        return function(*bound.args, **bound.kwargs)

    return call
