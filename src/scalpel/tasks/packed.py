"""Files as bytes and as lines, compressed or not, in UTF-8, or in UTF-16 and UTF-32 with a byte order mark.

A line ends at a newline only: str.splitlines would also split at characters such as U+2028 inside JSON texts.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from scalpel.runs.files import existing

PACKINGS: dict[bytes, tuple[str, Callable[[Path], Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.GzipFile),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMAFile),
    b"\x28\xb5\x2f\xfd": ("zstd", lambda path: zstandard(path)),
}
MARKS = {b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError)  # what the decompressors raise


def zstandard(path: Path) -> BinaryIO:
    """Decompresses through Arrow, which bundles the zstd library."""
    import pyarrow

    return cast("BinaryIO", io.BufferedReader(pyarrow.CompressedInputStream(str(path), "zstd")))


def packing(path: Path) -> str:
    """The name of the compression by the file's first bytes; empty if there is none."""
    with path.open("rb") as file:
        head = file.read(8)
    return next((name for magic, (name, _) in PACKINGS.items() if head.startswith(magic)), "")


@contextmanager
def unpacked(path: str | Path) -> Iterator[BinaryIO]:
    """The file's bytes, decompressed. ValueError where there is no such file."""
    file = existing(path)
    name = packing(file)
    opened = next((opener for n, opener in PACKINGS.values() if n == name), lambda path: path.open("rb"))
    with opened(file) as stream:
        yield stream


def beginning(path: str | Path, size: int = 2**16) -> bytes:
    """The first bytes of a file's decompressed content; ValueError if they can't be decompressed."""
    with unpacked(path) as stream:
        try:
            return stream.read(size)
        except DAMAGE as error:
            raise damaged(path, 0, error) from error


def damaged(path: str | Path, line: int, error: Exception) -> ValueError:
    after = f" after line {line}" if line else ""
    kind = packing(existing(path)) or "file's"
    return ValueError(f"{path}: the {kind} data are damaged or cut short{after} ({error}): fetch or pack it anew")


def encoding_of(head: bytes) -> str:
    """The encoding by the byte order mark; UTF-8 without one."""
    return next((name for mark, name in MARKS.items() if head.startswith(mark)), "utf-8-sig")


def lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a text file with their line ends. A ValueError names the file and line that isn't text."""
    encoding = encoding_of(beginning(path, 8))
    number, damage = 0, DAMAGE  # a name of its own: the module's may be gone when an unread rest is closed at exit
    with unpacked(path) as stream:
        try:
            if encoding == "utf-8-sig":
                for number, raw in enumerate(stream, 1):
                    yield number, utf8(raw, f"{path}:{number}", first=number == 1)
            else:
                text = io.TextIOWrapper(stream, encoding=encoding, newline="\n")
                for number, line in enumerate(text, 1):
                    yield number, line
        except UnicodeDecodeError as error:
            kind = encoding.upper()
            raise ValueError(
                f"{path}:{number + 1}: not valid {kind} ({error.reason}): save the file as UTF-8"
            ) from None
        except damage as error:
            raise damaged(path, number, error) from error


def utf8(raw: bytes, where: str, first: bool) -> str:
    try:
        text = raw.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: not UTF-8 at byte {error.start + 1}: save the file as UTF-8") from None
    if first and "\x00" in text[:4]:
        raise ValueError(
            f"{where}: bytes of zero between the letters, as UTF-16 without a byte order mark has them: save the file "
            "as UTF-8"
        )
    return text


def text_of(path: str | Path) -> str:
    """The whole content of a text file."""
    return "".join(line for _, line in lines(path))
