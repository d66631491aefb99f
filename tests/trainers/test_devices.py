"""Test which precision is used on this machine's CPU."""

from pathlib import Path

import pytest

from trainers.devices import fastest_precision

CPU = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPU.exists(), reason="reads the CPU's features from Linux")
def test_a_cpu_with_bfloat16_instructions_uses_bfloat16():
    flags = CPU.read_text().split()
    able = "avx512_bf16" in flags or "amx_bf16" in flags
    assert fastest_precision("cpu") == ("bfloat16" if able else "float32")
