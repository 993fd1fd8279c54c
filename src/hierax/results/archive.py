"""Objects in files: an NPZ with their arrays and description, whose last 64 characters are the SHA-256 sum of the rest.

The sum is the comment that a ZIP file may end with, so that `numpy.load` reads the arrays as well. The arrays are not
compressed: what a file takes in memory is no more than its size.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hierax._errors import InputError
from hierax.results.codec import REMEDY, Arrays, Codec
from hierax.results.files import read_bytes, written

FORMAT = 2
DESCRIPTION, DIGITS = "description", 64
MOST_TEXT = 2**28
"""Most bytes of a description."""


def pack(node: Any, codec: Codec = Codec()) -> bytes:
    """An object as the bytes of a file.

    Raises
    ------
    InputError
        For something in it that cannot be kept.
    """
    return packed(node, codec)[0]


def packed(node: Any, codec: Codec = Codec()) -> tuple[bytes, tuple[type, ...]]:
    """An object as the bytes of a file, and the classes that have to be given to `unpack` it; see `pack`."""
    arrays = Arrays()
    record = {"format": FORMAT, "object": codec.describe(node, arrays)}
    text = np.frombuffer(json.dumps(record, allow_nan=False).encode(), dtype=np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **arrays.named, **{DESCRIPTION: text})  # pyright: ignore
    content = stream.getvalue()
    # the comment is the end of the file, and its length is what comes before it
    content = content[:-2] + struct.pack("<H", DIGITS)
    return content + hashlib.sha256(content).hexdigest().encode(), tuple(arrays.classes)


def unpack(content: bytes, where: str, codec: Codec = Codec()) -> Any:
    """The inverse of `pack`.

    Parameters
    ----------
    content, codec:
        The bytes, and what they may name.
    where:
        The file, for messages.

    Raises
    ------
    InputError
        If they are damaged, no such file, or of a later version.
    """
    if not (content[:2] == b"PK" and len(content) > DIGITS):
        raise InputError(
            "This is no file of hierax.", where, "Give a file that solution.save or hierax.save has written."
        )
    if hashlib.sha256(content[:-DIGITS]).hexdigest().encode() != content[-DIGITS:]:
        raise InputError("The file is damaged: its SHA-256 sum is not the one that it ends with.", where, REMEDY)
    try:
        _check_sizes(content)
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        record = json.loads(arrays.pop(DESCRIPTION).tobytes())
        found = record["format"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, RecursionError, zipfile.BadZipFile) as error:
        raise InputError(f"The file cannot be read ({error}).", where, REMEDY) from error
    if found != FORMAT:
        raise InputError(
            f"The file is of format {found}, this version reads format {FORMAT}.",
            where,
            "Use the version of hierax that wrote it.",
        )
    try:
        return codec.rebuild(record["object"], arrays)
    except InputError as error:
        raise InputError(error.what, where, error.remedy) from error


def save(node: Any, path: Path, codec: Codec = Codec()) -> None:
    """Write an object into a file, completely or not at all.

    Raises
    ------
    InputError
        For something that cannot be kept, and a place that cannot be written.
    """
    content = pack(node, codec)
    with written(path) as draft:
        draft.write_bytes(content)


def load(path: Path, codec: Codec = Codec()) -> Any:
    """Read what `save` wrote.

    Raises
    ------
    InputError
        For a file that is missing, damaged, or not written by `save`.
    """
    return unpack(read_bytes(path, REMEDY), str(path), codec)


def _check_sizes(content: bytes) -> None:
    """Refuse what would take more memory than its file: nothing here is compressed, and nothing occurs twice."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its parts are compressed")
        if sum(entry.file_size for entry in entries) > len(content):
            raise ValueError("its parts are larger than the file")
        if any(entry.filename == f"{DESCRIPTION}.npy" and entry.file_size > MOST_TEXT for entry in entries):
            raise ValueError("its description is too long")
