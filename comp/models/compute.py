"""How a model is computed: device, precision, memory layout, optimizer variant, threads.

Decided once before step 1, written to the run as part of its identity, and never probed again for
another fold or on resume.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from comp.config import ModelConfig

GRAPHS = "reduce-overhead"  # torch.compile's name for CUDA graphs


@dataclass(frozen=True)
class Compute:
    """One way of computing; every field can change the last bits of a result."""

    device_type: str  # cpu | cuda
    precision: str  # fp32 | bf16 | fp16
    channels_last: bool
    fused: bool
    threads: int  # torch threads of one job on a CPU; 0 on a GPU: not ours to say
    compile: str = ""  # mode of torch.compile in training; "": not compiled

    def as_dict(self) -> dict[str, Any]:
        """The fields; without `compile` where nothing is compiled, as in runs that are older than it."""
        said = asdict(self)
        return said if self.compile else {k: v for k, v in said.items() if k != "compile"}

    def compiled(self, mode: str) -> Compute:
        """The same, trained through torch.compile in this mode; "": not compiled."""
        return replace(self, compile=mode)

    def settle(self) -> None:
        """Set what is global in torch: threads on a CPU; on CUDA, whether float32 products may use TF32.

        Convolutions in float32 may by torch's own default.
        """
        if self.threads:
            torch.set_num_threads(self.threads)
        if self.device_type == "cuda":
            torch.set_float32_matmul_precision("high" if self.precision == "fp32" else "highest")

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Context in which forward passes run; losses are computed outside it, in float32."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.device_type, dtype)

    def to_layout(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) in the memory layout of the model."""
        if not self.channels_last:
            return images
        return images.contiguous(memory_format=torch.channels_last)


@contextlib.contextmanager
def fixed_shapes(device: torch.device) -> Iterator[None]:
    """Within it cuDNN times its algorithms once a shape and takes the fastest: for batches of one shape."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def gpu_count() -> int:
    """GPUs that torch sees."""
    return torch.cuda.device_count()


def cpu_has_bf16() -> bool:
    """True where the CPU multiplies bfloat16 natively (AVX512-BF16, AMX or Arm's BF16)."""
    if torch.backends.mkldnn.is_available():
        try:
            return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and _native_bf16_flag()
        except (AttributeError, RuntimeError):
            return False
    return False


def _native_bf16_flag() -> bool:
    # oneDNN also says yes where it would only emulate; the kernel's flags tell the truth.
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = file.read()
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))


def decide_compute(config: ModelConfig, device_type: str) -> Compute:
    """Resolve every `auto` of the config for a device type."""
    precision = config.train.precision
    if precision == "auto":
        if device_type == "cuda":
            precision = "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp16"
        else:
            precision = "bf16" if cpu_has_bf16() else "fp32"
    layout = config.train.channels_last
    fused = config.train.fused
    return Compute(
        device_type=device_type,
        precision=precision,
        channels_last=(precision != "fp32") if layout == "auto" else bool(layout),
        fused=True if fused == "auto" else bool(fused),
        threads=1 if device_type == "cpu" else 0,
    )
