"""What training asks of a machine: its device, its precision, a compiler, and how busy its GPU is."""

from __future__ import annotations

import logging
from typing import Literal

import torch
from torch import nn

from schemas.errors import UserError

log = logging.getLogger(__name__)

PRECISIONS = ("auto", "bf16", "fp32")


def is_on_gpu(accelerator: str) -> bool:
    """Whether a training would run on a GPU."""
    return accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()


def precision_of(wanted: str, on_gpu: bool) -> Literal["bf16-mixed", "32-true"]:
    """Lightning's word for a precision. Mixed: weights stay fp32, matrices are multiplied in bf16.

    Args:
        wanted: one of `PRECISIONS`; auto is bf16 on a GPU and fp32 on a CPU.
        on_gpu: see `is_on_gpu`.

    Raises:
        UserError: another word.
    """
    if wanted not in PRECISIONS:
        raise UserError(f"no precision {wanted!r}", mend=f"one of: {', '.join(PRECISIONS)}")
    return "bf16-mixed" if wanted == "bf16" or (wanted == "auto" and on_gpu) else "32-true"


def compile_for(module: nn.Module, device: torch.device | str) -> bool:
    """Compile a module in place, and whether that can be done here: PyTorch compiles for a CPU by the C++ compiler of
    the machine, for a GPU by Triton. Where it cannot, the module stays as it is and a warning says why.
    """
    try:
        torch.compile(torch.neg)(torch.zeros(2, device=device))
    except RuntimeError as error:  # what it raises first hand of any backend
        log.warning("not compiled, training goes on without: %s", str(error).strip().splitlines()[0])
        return False
    module.compile()
    return True


def gpu_busy(device: torch.device) -> float | None:
    """Share of the last moment in which the GPU computed, as the driver says; None where it cannot be asked."""
    try:
        return torch.cuda.utilization(device) / 100.0
    except (ModuleNotFoundError, RuntimeError):
        return None
