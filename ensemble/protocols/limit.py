"""One number that an operator may set: the fields of `Deadlines` and of `Limits<ensemble.mesh.Limits>`."""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen

from ensemble.errors import ConfigurationError


@frozen
class About:
    """What an operator is told of one limit."""

    name: str
    default: int
    unit: str
    least: int
    most: int
    meaning: str

    def outside(self, value: str) -> ConfigurationError:
        """:returns: what to raise where ``value`` is not in the range."""
        return ConfigurationError(f"the limit {self.name} is {self.least} to {self.most} {self.unit}, not {value}")


def limit(default: int, unit: str, least: int, most: int, meaning: str) -> Any:
    """A field of a frozen attrs class, an ``int`` that is in its range."""
    facts = {"unit": unit, "least": least, "most": most, "meaning": meaning}
    return field(default=default, validator=_within, metadata=facts)


def about(one: Attribute[Any]) -> About:
    """What there is to say of a field that `limit` made."""
    default: Any = one.default
    return About(one.name, default, **one.metadata)


def _within(_: object, attribute: Attribute[Any], value: int) -> None:
    told = about(attribute)
    if type(value) is not int or not told.least <= value <= told.most:
        raise told.outside(repr(value))
