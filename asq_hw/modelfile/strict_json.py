"""Taking JSON apart with strict types: every field once, none left over."""

from __future__ import annotations

from asq_hw.errors import InputError

__all__ = ["Fields"]


class Fields:
    """One JSON object whose fields are taken one by one.

    Parameters
    ----------
    what : str
        What the object describes, for messages.
    value : object
        The parsed JSON.

    Raises
    ------
    InputError
        If `value` is no object; from the methods, if a field is missing or has another type.
    """

    def __init__(self, what: str, value: object) -> None:
        if not isinstance(value, dict):
            raise InputError(f"{what} must be an object, not {_describe(value)}")
        self.what = what
        self._fields = dict(value)

    def has(self, name: str) -> bool:
        """Whether the field is there and not taken yet."""
        return name in self._fields

    def take(self, name: str) -> object:
        """The field's value as it is."""
        if name not in self._fields:
            raise InputError(f"{self.what} has no field {name!r}")
        return self._fields.pop(name)

    def integer(self, name: str) -> int:
        """An integer; true and false are none."""
        return self._integer(name, self.take(name))

    def optional_integer(self, name: str) -> int | None:
        """An integer or null."""
        value = self.take(name)
        return None if value is None else self._integer(name, value)

    def boolean(self, name: str) -> bool:
        """A boolean."""
        value = self.take(name)
        if not isinstance(value, bool):
            raise InputError(self._must(name, "true or false", value))
        return value

    def string(self, name: str) -> str:
        """A string."""
        return self._string(name, self.take(name))

    def array(self, name: str) -> list[object]:
        """A list of anything."""
        value = self.take(name)
        if not isinstance(value, list):
            raise InputError(self._must(name, "a list", value))
        return value

    def strings(self, name: str, count: int) -> list[str]:
        """A list of `count` strings."""
        return [self._string(name, item) for item in self._counted(name, count)]

    def pair(self, name: str) -> tuple[int, int]:
        """A list of two integers."""
        first, second = (self._integer(name, item) for item in self._counted(name, 2))
        return first, second

    def nested(self, name: str) -> Fields:
        """A nested object."""
        return Fields(f"{self.what}: {name}", self.take(name))

    def optional_nested(self, name: str) -> Fields | None:
        """A nested object or null."""
        value = self.take(name)
        return None if value is None else Fields(f"{self.what}: {name}", value)

    def string_list(self, name: str) -> list[str]:
        """A list of any number of strings."""
        return [self._string(name, item) for item in self.array(name)]

    def string_mapping(self, name: str) -> dict[str, str]:
        """A nested object of strings."""
        inner = self.nested(name)
        return {key: inner.string(key) for key in list(inner._fields)}

    def finish(self) -> None:
        """Raise InputError if a field was not taken."""
        if self._fields:
            raise InputError(f"{self.what} has an unknown field {next(iter(self._fields))[:80]!r}")

    def _counted(self, name: str, count: int) -> list[object]:
        items = self.array(name)
        if len(items) != count:
            raise InputError(f"{self.what}: {name} must have {count} items, not {len(items)}")
        return items

    def _integer(self, name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(self._must(name, "an integer", value))
        return value

    def _string(self, name: str, value: object) -> str:
        if not isinstance(value, str):
            raise InputError(self._must(name, "a string", value))
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise InputError(f"{self.what}: {name} has half of a surrogate pair", rule="R-json")
        return value

    def _must(self, name: str, rule: str, value: object) -> str:
        return f"{self.what}: {name} must be {rule}, not {_describe(value)}"


def _describe(value: object) -> str:
    """A value for a message; what could be long or deep is only named."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)[:80]
