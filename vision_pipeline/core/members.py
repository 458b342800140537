"""Names of images inside a container: `tar://cats/1.jpg::/data/cats.tar`, as fsspec chains them."""

from __future__ import annotations

from dataclasses import dataclass

MEMBER_SCHEMES = frozenset({"tar", "zip", "parquet"})
# Object stores and this process: their addresses come from the machine's settings, not from a URL.
_STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "r2", "hf", "memory"}
)
_CHAIN = "::"
_DAMAGED = "(damaged"


@dataclass(frozen=True, slots=True)
class Member:
    """One image inside a file that holds many.

    Attributes:
        scheme: `tar`, `zip` or `parquet`: how the container is built.
        name: Of a tar or zip member, its name there; of a Parquet row, `column/row` with rows
            counted from 0 over the whole file.
        container: Local path or URL of the file; without `::`.
    """

    scheme: str
    name: str
    container: str

    @property
    def uri(self) -> str:
        """How the member is named in manifests and rows."""
        return f"{self.scheme}://{self.name}{_CHAIN}{self.container}"


def damaged_from(place: str) -> str:
    """The name of a member in place of all those that cannot be told any more, from a place on."""
    return f"{_DAMAGED} from {place} on)"


def is_damaged(name: str) -> bool:
    """Whether a member's name is one of `damaged_from`."""
    return name.startswith(_DAMAGED)


def parse_member(uri: str) -> Member | None:
    """The member that a URI names, or None where it names no member of a known container."""
    scheme, mark, rest = uri.partition("://")
    name, chain, container = rest.rpartition(_CHAIN)
    if not (mark and chain and name and container) or scheme.lower() not in MEMBER_SCHEMES:
        return None
    return Member(scheme.lower(), name, container)


def readable(name: str) -> str:
    """A name as text: bytes that are no UTF-8, which Python keeps as surrogates, percent-encoded.

    A name that is text already stays as it is.
    """
    if _is_text(name):
        return name
    return "".join(
        each.replace("%", "%25") if _is_text(each) else f"%{ord(each) & 0xFF:02X}" for each in name
    )


def is_chain(location: str) -> bool:
    """Whether a location is one thing inside another; it leads where its last link does."""
    return _CHAIN in location


def leads_home(scheme: str | None, location: str) -> bool:
    """Whether reading a location reaches only files and stores, and no address of its choice.

    Args:
        scheme: That of `location` in lower case, or None for a path.
        location: Path or URL.
    """
    if scheme is None or scheme == "file":
        return True
    return scheme in _STORES and not is_chain(location)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
