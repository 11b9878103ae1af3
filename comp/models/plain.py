"""Tensors and plain values from files of torch.save, which are pickles: nothing in one is ever run."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

SLACK = 1 << 20  # bytes of names and padding in the zip that torch.save writes
GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


class NotPlainError(ValueError):
    """A file that holds more than tensors and plain values, or is none of torch."""


def load_plain(source: Path | io.BytesIO) -> Any:
    """What torch.save wrote, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        NotPlainError: it would run code, unpacks to far more than its size, or is damaged; in few words.
    """
    try:
        if zipfile.is_zipfile(source):
            refuse_bomb(source)
        if isinstance(source, io.BytesIO):
            source.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice on files that are refused here
            return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = GLOBAL.search(str(error))
        name = found[1] if found else named_code(source)
        if name is not None:
            raise NotPlainError(f"refused: contains code ({name})") from error
        raise NotPlainError("refused: not a file of torch.save") from error
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError, MemoryError,
            RecursionError, AssertionError, zipfile.BadZipFile) as error:  # fmt: skip
        lines = str(error).strip().splitlines()
        raise NotPlainError(
            lines[0].partition(". In PyTorch")[0] if lines else "damaged"
        ) from error


def refuse_bomb(source: Path | io.BytesIO) -> None:
    """torch stores tensors as they are: a zip that unpacks to far more than its size is none of its.

    Raises:
        NotPlainError: telling both sizes.
    """
    size = source.stat().st_size if isinstance(source, Path) else len(source.getbuffer())
    with zipfile.ZipFile(source) as archive:
        unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > 2 * size + SLACK:
        raise NotPlainError(f"refused: unpacks to {unpacked / 1e6:.0f} MB from {size / 1e6:.1f} MB")


def named_code(source: Path | io.BytesIO) -> str | None:
    """The first thing that a bare pickle would import, read without running it; None: no pickle."""
    data = source.getvalue() if isinstance(source, io.BytesIO) else source.read_bytes()
    words: list[str] = []
    try:
        for operation, argument, _ in pickletools.genops(data):
            if operation.name == "GLOBAL":
                return str(argument).replace(" ", ".")
            if operation.name == "STACK_GLOBAL":
                return ".".join(words[-2:])
            if isinstance(argument, str):
                words.append(argument)
    except (ValueError, IndexError, OverflowError):  # no pickle, or a damaged one
        pass
    return None
