"""What this machine multiplies fastest with."""

from pathlib import Path

import pytest

from trainers.devices import fastest_precision

CPU = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPU.exists(), reason="asks Linux what the CPU can do")
def test_a_cpu_multiplies_in_bfloat16_if_it_has_the_instructions():
    flags = CPU.read_text().split()
    able = "avx512_bf16" in flags or "amx_bf16" in flags
    assert fastest_precision("cpu") == ("bfloat16" if able else "float32")
