"""What this machine and its Python are: versions, cores, memory, disk, GPUs; and what is wrong with them."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from comp import __version__
from comp.jobs.slots import cpu_count
from comp.jobs.worker import THREAD_VARIABLES

NEEDED = (
    "numpy", "torch", "torchvision", "timm", "segmentation-models-pytorch", "albumentations",
    "ttach", "opencv-python-headless", "numba", "optuna", "pandas", "scikit-learn", "pydantic",
)  # fmt: skip
# package -> extra of comp, and what is missing without it
EXTRAS = {
    "tensorboard": ("tb", "train.tensorboard"),
    "imagecodecs": ("tif", "tif compressions beyond the usual"),
    "rasterio": ("geo", "places on the earth, GeoTIFF masks"),
}
GIB = 2**30
LOW_DISK, LOW_MEMORY = 2 * GIB, 2 * GIB
LOW_SHARED = GIB // 4  # a container's 64 MB ends loader processes with a bus error


@dataclass(frozen=True)
class Fact:
    """One line of the report: `problem` must be mended, `note` may matter."""

    name: str
    text: str
    problem: bool = False
    note: bool = False


def look_at_machine(folder: Path) -> Iterator[Fact]:
    """Everything about the machine, one fact at a time.

    Args:
        folder: where runs and caches are written: the disk that must have room.
    """
    yield Fact("comp", f"{__version__}, Python {platform.python_version()} ({sys.executable})")
    yield from look_at_packages()
    yield from look_at_requirements()
    yield from look_at_extras()
    yield from look_at_cpu()
    yield from look_at_gpus()
    yield from look_at_memory()
    yield look_at_disk("disk", folder, LOW_DISK)
    if Path("/dev/shm").is_dir():
        yield look_at_disk("/dev/shm", Path("/dev/shm"), LOW_SHARED)


def version_of(package: str) -> str | None:
    """The version that is installed, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def look_at_packages() -> Iterator[Fact]:
    """Versions of what results depend on."""
    found = {package: version_of(package) for package in NEEDED}
    there = ", ".join(f"{name} {v}" for name, v in found.items() if v is not None)
    yield Fact("packages", there)
    if missing := [name for name, v in found.items() if v is None]:
        modules = {"opencv-python-headless": "cv2"}
        absent = [n for n in missing if importlib.util.find_spec(modules.get(n, n)) is None]
        if absent:
            yield Fact("packages", f"not installed: {', '.join(absent)}", problem=True)


def look_at_requirements() -> Iterator[Fact]:
    """Installed versions outside the bounds that comp states; nothing when comp runs from a folder."""
    try:
        from packaging.requirements import Requirement

        stated = metadata.requires("comp") or []
    except (ImportError, metadata.PackageNotFoundError):
        return
    for text in stated:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        have = version_of(wanted.name)
        if have is not None and not wanted.specifier.contains(have, prereleases=True):
            yield Fact(
                "packages",
                f"{wanted.name} {have}; comp needs {wanted.name}{wanted.specifier}",
                problem=True,
            )


def look_at_extras() -> Iterator[Fact]:
    """Which optional packages are there, and what the others would give."""
    there = [n for n in EXTRAS if importlib.util.find_spec(n) is not None]
    absent = [
        f'{name} (pip install "comp[{EXTRAS[name][0]}]": {EXTRAS[name][1]})'
        for name in EXTRAS
        if name not in there
    ]
    said = [", ".join(there) or "none"] + ([f"without {', '.join(absent)}"] if absent else [])
    yield Fact("extras", "; ".join(said))


def look_at_cpu() -> Iterator[Fact]:
    """Cores, threads, and whether bfloat16 is native."""
    try:
        from comp.models.compute import cpu_has_bf16

        bf16 = "native bf16" if cpu_has_bf16() else "no native bf16: float32"
    except Exception as error:  # noqa: BLE001 - a broken torch raises every kind
        yield Fact("torch", f"cannot be imported: {type(error).__name__}: {error}", problem=True)
        bf16 = "bf16 unknown"
    cores, all_cores = cpu_count(), os.cpu_count() or 1
    of = f" of {all_cores}" if cores != all_cores else ""
    said = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    threads = f"; {', '.join(said)}" if said else ""
    yield Fact("cpu", f"{processor()}, {cores}{of} cores, {bf16}{threads}")


def processor() -> str:
    """The processor's own name where the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def look_at_gpus() -> Iterator[Fact]:
    """Each GPU with its memory; one that does not compute is a problem."""
    try:
        from comp.models.gpus import list_gpus
    except Exception:  # noqa: BLE001 - said by `look_at_cpu`
        return
    gpus = list_gpus()
    if not gpus:
        yield Fact("gpu", "none that torch sees")
    for gpu in gpus:
        if gpu.error:
            yield Fact(f"gpu {gpu.index}", f"does not compute: {gpu.error}", problem=True)
            continue
        text = f"{gpu.name}, {gpu.free / GIB:.1f} of {gpu.total / GIB:.1f} GiB free"
        yield Fact(f"gpu {gpu.index}", f"{text}, {'bf16' if gpu.bf16 else 'fp16 (no native bf16)'}")


def look_at_memory() -> Iterator[Fact]:
    """Memory of the machine, or what a container allows."""
    found = memory()
    if found is None:
        return
    available, total = found
    text = f"{available / GIB:.1f} of {total / GIB:.1f} GiB available"
    yield Fact("memory", text, note=available < LOW_MEMORY)


def memory() -> tuple[int, int] | None:
    """Bytes available and in all, the smaller of machine and container; None where nobody tells."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if "kB" in line}
        available, total = kib["MemAvailable"] * 1024, kib["MemTotal"] * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        available, total = min(available, max(0, limit - used)), min(total, limit)
    except (OSError, ValueError):  # no container, or "max"
        pass
    return available, total


def look_at_disk(name: str, folder: Path, low: int) -> Fact:
    """Room on the disk of a folder, and whether it can be written."""
    usage = shutil.disk_usage(folder)
    if not os.access(folder, os.W_OK):
        return Fact(name, f"{folder} cannot be written", problem=True)
    text = f"{usage.free / GIB:.1f} of {usage.total / GIB:.1f} GiB free at {folder}"
    if usage.free < low:
        return Fact(name, f"{text}: little", note=True)
    return Fact(name, text)
