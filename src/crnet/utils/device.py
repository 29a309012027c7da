"""Devices and precisions. Importing this module does not import PyTorch, so that `crnet --help` stays fast."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from crnet.errors import ConfigError, MissingDependencyError
from crnet.utils.extras import install_command

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]
"""auto: a GPU if there is one; see `choose_device`."""

ComputePrecision = Literal["float32", "bfloat16"]
"""Number format in which networks compute."""

Precision = Literal["auto", ComputePrecision]
"""The same, or the choice of it: see `prediction_precision`."""

GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # of NVIDIA's driver, AMD's, and both on Windows' Linux
CPU_INFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # as Linux names them; the last is Arm's
ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"
_BEYOND_AVX2 = ("avx512", "amx")
FLAGS_BEYOND = {
    "SSE41": ("avx", "fma", *_BEYOND_AVX2),
    "AVX": ("avx2", "avx_", "fma", *_BEYOND_AVX2),
    "AVX2": ("avx_", *_BEYOND_AVX2),
    "AVX2_VNNI": _BEYOND_AVX2,
    "AVX2_VNNI_2": _BEYOND_AVX2,
    "AVX512_CORE": ("avx512_vnni", "avx512_bf16", "avx512_fp16", "amx"),
    "AVX512_CORE_VNNI": ("avx512_bf16", "avx512_fp16", "amx"),
    "AVX512_CORE_BF16": ("avx512_fp16", "amx"),
    "AVX512_CORE_FP16": ("amx",),
}
"""First letters of the flags that a value of `ONEDNN_MAX_CPU_ISA` forbids, see
https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html: PyTorch and OpenVINO obey it."""


def cpu_flags() -> frozenset[str]:
    """Return the instruction sets that networks may use, as Linux names them; nothing where that cannot be known."""
    beyond = FLAGS_BEYOND.get(os.environ.get(ISA_LIMIT, "").upper(), ())
    return frozenset(flag for flag in _all_cpu_flags() if not flag.startswith(beyond))


@cache
def _all_cpu_flags() -> frozenset[str]:
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(flags, "").split())


def require_fast(precision: Precision, device_type: str) -> None:
    """Refuse bfloat16 on a CPU that computes it in software, seven times slower than float32.

    Raises:
        ConfigError: It does so, as far as is known.
    """
    flags = cpu_flags()
    if precision == "bfloat16" and device_type == "cpu" and flags and not flags & BFLOAT16_FLAGS:
        raise ConfigError(
            "this CPU has no bfloat16 instructions, so bfloat16 would be several times slower than float32",
            remedy="choose the precision auto or float32",
        )


def prediction_precision(precision: Precision, device_type: str) -> ComputePrecision:
    """Return what the networks of a trained system compute in.

    `auto` is float32 whatever the processor has: a clip gets the same score on every machine, and from evaluation.
    bfloat16, which moves scores by up to 0.003, has to be asked for.

    Raises:
        ConfigError: See `require_fast`.
    """
    require_fast(precision, device_type)
    return "bfloat16" if precision == "bfloat16" else "float32"


def uses_gpu(device: Device) -> bool:
    """Return whether prediction on `device` runs on a GPU. Without one, PyTorch is not even imported.

    Raises:
        ConfigError: The device is not available.
    """
    if device != "auto":
        return device != "cpu" and choose_device(device).type != "cpu"
    may_have_one = sys.platform == "win32" or any(Path(file).exists() for file in GPU_FILES)
    return may_have_one and find_spec("torch") is not None and choose_device().type != "cpu"


def choose_device(name: str = "auto", local_rank: int = 0) -> torch.device:
    """Return the device called `name`; `auto` is a GPU if there is one, otherwise the CPU.

    Raises:
        ConfigError: The device is unknown or not available.
        MissingDependencyError: PyTorch is not installed.
    """
    if name not in get_args(Device):
        remedy = f"choose from {', '.join(get_args(Device))}; CUDA_VISIBLE_DEVICES selects one of several GPUs"
        raise ConfigError(f"unknown device {name!r}", remedy=remedy)
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"the device {name} needs PyTorch", remedy=install_command("torch")) from error

    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA GPU is available", remedy="choose device auto or cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("no Apple GPU is available", remedy="choose device auto or cpu")
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"training process {local_rank} has no GPU: there are only {torch.cuda.device_count()}",
                remedy="start one process per GPU",
            )
        return torch.device("cuda", local_rank)
    return torch.device("cpu" if name == "auto" else name)
