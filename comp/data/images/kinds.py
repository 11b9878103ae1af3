"""What a file that is no image of a known kind is, by its first bytes, and what to do with it."""

from __future__ import annotations

_CONVERT = "convert it to PNG or tif"
_UNPACK = "unpack it first"
_KINDS: tuple[tuple[int, tuple[bytes, ...], str, str], ...] = (
    (0, (b"version https://git-lfs",), "a git-lfs pointer, not the file itself", "run `git lfs pull`"),
    (0, (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"), "a compressed file", _UNPACK),
    (0, (b"PK\x03\x04", b"7z\xbc\xaf", b"Rar!"), "an archive", _UNPACK),
    (128, (b"DICM",), "a DICOM file", _CONVERT),
    (344, (b"n+1\0", b"ni1\0"), "a NIfTI volume", "save its slices as PNG or tif files"),
    (0, (b"\x93NUMPY",), "a numpy array", "save it as PNG or tif (tifffile.imwrite)"),
    (0, (b"\x89HDF", b"CDF"), "a HDF5 or netCDF file", "save its pictures as PNG or tif"),
    (8, (b"avif", b"avis"), "an AVIF picture", _CONVERT),
    (8, (b"heic", b"heix", b"mif1", b"hevc"), "a HEIC picture", _CONVERT),
    (0, (b"\xff\x0a", b"\0\0\0\x0cJXL "), "a JPEG XL picture", _CONVERT),
    (0, (b"8BPS",), "a Photoshop file", _CONVERT),
    (0, (b"%PDF",), "a PDF document", _CONVERT),
    (0, (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7"), "a PNM picture", _CONVERT),
    (0, (b"\x76\x2f\x31\x01",), "an OpenEXR picture", _CONVERT),
    (0, (b"<!DOCTYPE", b"<html", b"<HTML", b"<!doctype"), "a web page", "download the file again"),
    (0, (b"<svg", b"<?xml"), "XML or SVG text", _CONVERT),
)  # fmt: skip


def foreign_kind(start: bytes) -> str:
    """Say what a file is that is no image, and the next step; nothing where that is not known.

    Args:
        start: its first 512 bytes or more.
    """
    for at, signatures, kind, cure in _KINDS:
        if start[at:].startswith(signatures):
            return f"it is {kind}: {cure}"
    if start and not any(start[:512]):
        return "it begins with zeros, as files do that were never downloaded whole: get it again"
    return ""
