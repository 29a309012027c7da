"""What networks compute in depends on what the processor has, and no score on the processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from crnet.errors import ConfigError
from crnet.utils import device
from crnet.utils.device import ISA_LIMIT, choose_device, prediction_precision, require_fast, uses_gpu

AVX2 = frozenset({"avx", "avx2", "fma"})


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv(ISA_LIMIT, raising=False)
    read_flags = device._all_cpu_flags
    read_flags.cache_clear()
    yield monkeypatch  # type: ignore[misc]
    read_flags.cache_clear()


@pytest.mark.parametrize("name", ["gpu", "CPU", "cuda:1"])
def test_an_unknown_device_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown device '{name}' \(choose from auto, cpu, cuda, mps; CUDA_VISIBLE"):
        choose_device(name)


@pytest.mark.parametrize("flags", [AVX2, AVX2 | {"avx512_bf16"}, frozenset()])
def test_auto_is_float32_on_every_cpu(cpu: pytest.MonkeyPatch, flags: frozenset[str]) -> None:
    cpu.setattr(device, "cpu_flags", lambda: flags)
    assert prediction_precision("auto", "cpu") == "float32"


def test_bfloat16_is_refused_on_a_cpu_that_computes_it_in_software(cpu: pytest.MonkeyPatch) -> None:
    cpu.setattr(device, "cpu_flags", lambda: AVX2)
    with pytest.raises(ConfigError, match=r"no bfloat16 instructions.*auto or float32"):
        prediction_precision("bfloat16", "cpu")
    assert prediction_precision("bfloat16", "cuda") == "bfloat16"
    require_fast("float32", "cpu")


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16", "bf16"])
def test_bfloat16_is_computed_where_there_are_instructions(cpu: pytest.MonkeyPatch, flag: str) -> None:
    cpu.setattr(device, "cpu_flags", lambda: AVX2 | {flag})
    assert prediction_precision("bfloat16", "cpu") == "bfloat16"


def test_an_unknown_cpu_is_trusted(cpu: pytest.MonkeyPatch) -> None:
    cpu.setattr(device, "cpu_flags", frozenset)
    assert prediction_precision("bfloat16", "cpu") == "bfloat16"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2\nprocessor\t: 1\nflags\t: other\n", {"fpu", "avx2"}),
        ("Features : fp bf16\n", {"fp", "bf16"}),
    ],
)
def test_linux_lists_the_instruction_sets(
    cpu: pytest.MonkeyPatch, tmp_path: Path, text: str, expected: set[str]
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    cpu.setattr(device, "CPU_INFO", tmp_path / "cpuinfo")
    assert device.cpu_flags() == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("AVX2", {"avx", "avx2", "fma"}),
        ("avx2_vnni", {"avx", "avx2", "fma", "avx_vnni"}),
        ("AVX512_CORE_VNNI", {"avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni"}),
        ("AVX512_CORE_BF16", {"avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16"}),
        ("DEFAULT", {"avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"}),
    ],
)
def test_instruction_sets_that_the_libraries_may_not_use_do_not_count(
    cpu: pytest.MonkeyPatch, tmp_path: Path, limit: str, expected: set[str]
) -> None:
    (tmp_path / "cpuinfo").write_text(
        "flags\t: avx avx2 fma avx_vnni avx512f avx512_vnni avx512_bf16 amx_bf16\n", encoding="utf-8"
    )
    cpu.setattr(device, "CPU_INFO", tmp_path / "cpuinfo")
    cpu.setenv(ISA_LIMIT, limit)
    assert device.cpu_flags() == expected


def test_elsewhere_they_are_unknown(cpu: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpu.setattr(device, "CPU_INFO", tmp_path / "missing")
    assert device.cpu_flags() == frozenset()


def test_a_machine_without_a_gpu_driver_does_not_ask_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("PyTorch was asked")

    monkeypatch.setattr(device, "choose_device", fail)
    monkeypatch.setattr(device, "GPU_FILES", ())
    assert not uses_gpu("auto") and not uses_gpu("cpu")
