"""Pages of lists: sizes, opaque tokens, and a bound on a page's bytes."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from twofold.errors import InvalidField

DEFAULT_SIZE = 50
MAX_SIZE = 1_000
#: A page ends early here: clients take 4 MiB per message unless told otherwise.
MAX_BYTES = 2 << 20
_MAX_TOKEN = 256

Item = TypeVar("Item")
Answer = TypeVar("Answer", bound=Message)


def page_size(requested: int) -> int:
    """How many to answer with: 50 for 0, at most 1,000; raises InvalidField below 0."""
    if requested < 0:
        raise InvalidField.of("page_size", requested, "0 (50 are answered) to 1000")
    return min(requested or DEFAULT_SIZE, MAX_SIZE)


def encode_token(position: str) -> str:
    """An opaque token for the place after `position`."""
    return base64.urlsafe_b64encode(position.encode()).decode()


def decode_token(token: str) -> str:
    """The position in a token, "" for none; raises InvalidField."""
    problem = InvalidField.of("page_token", token, "next_page_token of the page before")
    if len(token) > _MAX_TOKEN:
        raise problem
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error) as error:
        raise problem from error


def cut(
    items: Sequence[Item], size: int, describe: Callable[[Item], Answer]
) -> tuple[list[Answer], bool]:
    """Descriptions of the first `size` items, fewer where they are large; whether more follow."""
    page: list[Answer] = []
    remaining = MAX_BYTES
    for item in items[:size]:
        described = describe(item)
        remaining -= described.ByteSize()
        if page and remaining < 0:
            break
        page.append(described)
    return page, len(page) < len(items)
