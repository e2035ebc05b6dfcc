"""What this machine multiplies fast."""

from pathlib import Path

import torch


def fast_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    capabilities = torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") else ""
    if capabilities != "AVX512":
        return False
    info = Path("/proc/cpuinfo")
    return info.is_file() and "avx512_bf16" in info.read_text()
