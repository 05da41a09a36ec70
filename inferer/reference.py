"""What a request means by model_version: a number, an alias, or nothing."""

from dataclasses import dataclass

from inferer.versions import DEFAULT
from twofold.errors import InvalidField
from twofold.names import check_alias

#: Digits of the largest int64.
_MAX_DIGITS = 19


@dataclass(frozen=True, slots=True)
class Reference:
    """A number, or the channel to follow: an alias or the default."""

    channel: str = DEFAULT
    number: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Nothing is the default, 3 a version, :stable an alias; raises InvalidField."""
        if not text:
            return cls()
        if text.startswith(":"):
            return cls(channel=check_alias("model_version", text[1:]))
        if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
            return cls(number=int(text))
        allowed = "a version number, :ALIAS, or nothing for the current version"
        raise InvalidField.of("model_version", text, allowed)

    def of(self, model: str) -> str:
        """For messages: "models/digits/versions/3", "alias stable of models/digits", ..."""
        if self.number is not None:
            return f"models/{model}/versions/{self.number}"
        if self.channel == DEFAULT:
            return f"the current version of models/{model}"
        return f"alias {self.channel} of models/{model}"
