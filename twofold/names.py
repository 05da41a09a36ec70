"""Names are identifiers, never paths; identifiers we make are ULIDs and SHA-256 digests."""

import re
import secrets
import time
from collections.abc import Callable

from twofold.errors import InvalidField

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REQUEST_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
#: Ten bits as two characters.
_PAIRS = [high + low for high in _CROCKFORD for low in _CROCKFORD]
#: Words with a meaning of their own where a name may stand.
RESERVED = frozenset({"latest", "builtin", "models", "jobs", "datasets", "versions", "aliases"})
TRUTH_TABLES = ("and", "or", "xor")
ALLOWED = "[a-z0-9][a-z0-9._-]{0,62}, no '..', not one of " + ", ".join(sorted(RESERVED))


def check_name(field: str, value: str) -> str:
    """`value`, if it is a name; raises InvalidField."""
    if _NAME.fullmatch(value) is None or ".." in value or value in RESERVED:
        raise InvalidField.of(field, value, ALLOWED)
    return value


def check_alias(field: str, value: str) -> str:
    """`value`, if it is a name that cannot be taken for a version; raises InvalidField."""
    check_name(field, value)
    if value.isdigit():
        raise InvalidField.of(field, value, ALLOWED + ", not all digits")
    return value


def check_ulid(field: str, value: str) -> str:
    """`value`, if it is a ULID in upper case; raises InvalidField."""
    if _ULID.fullmatch(value) is None:
        raise InvalidField.of(field, value, "a ULID: 26 characters of Crockford's base 32")
    return value


def check_sha256(field: str, value: str) -> str:
    """`value`, if it is a SHA-256 in lower-case hexadecimal; raises InvalidField."""
    if _SHA256.fullmatch(value) is None:
        raise InvalidField.of(field, value, "a SHA-256 digest: 64 hexadecimal digits")
    return value


def check_request_id(field: str, value: str) -> str:
    """`value` in lower case, if it is a UUID; raises InvalidField."""
    if _REQUEST_ID.fullmatch(value) is None:
        raise InvalidField.of(field, value, "a UUID such as 6fa459ea-ee8a-4ca4-894e-db77e160355e")
    return value.lower()


def resource_id(field: str, value: str, collection: str) -> str:
    """The last part of "collection/id"; raises InvalidField where it is not of that form."""
    prefix, slash, last = value.partition("/")
    if prefix != collection or not slash or not last or "/" in last:
        raise InvalidField.of(field, value, f"{collection}/ID")
    return last


def ulid(
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> str:
    """A new ULID: 48 bits of time, 80 random bits. Source: github.com/ulid/spec."""
    number = (now_ms() << 80) | int.from_bytes(random_bytes(10))
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])
