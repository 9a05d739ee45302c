"""What a training asks of a machine, on a CPU: several processes, bf16, a compiler."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reference.devices import compile_for, precision_of
from reference.train import Training, fit
from reference.trunk import Trunk
from schemas.errors import UserError
from terraweft.cli import main
from tests.unit.reference import made_dataset
from tests.unit.reference.lesson_chips import EDGE_M, MadeChips

QUICK = Training(steps=6, batch_size=2, text_steps=0, accelerator="cpu")
ROOT = Path(__file__).parents[3]


def terraweft(*arguments: object, script: Path, **variables: str) -> str:
    """Run the command line as its console script does; what it said."""
    script.write_text("from terraweft.cli import main\n\nif __name__ == '__main__':\n    main()\n")
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables},
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_two_processes_learn_what_one_learns_of_batches_twice_as_large(tmp_path: Path) -> None:
    made_dataset.write(tmp_path / "dataset", 10)
    common = ("train", str(tmp_path / "dataset"), "--steps", "4", "--text-steps", "0", "--accelerator", "cpu")
    two_at_once = ("--batch-size", "1", "--devices", "2", "--out", str(tmp_path / "two"))
    said = terraweft(*common, *two_at_once, script=tmp_path / "terraweft")
    assert said.count("trained on") == 1
    with pytest.raises(SystemExit) as ended:
        main([*common, "--batch-size", "2", "--out", str(tmp_path / "one")])
    assert ended.value.code == 0
    one, two = (torch.load(tmp_path / name / "model.pt", weights_only=True)["weights"] for name in ("one", "two"))
    for name, value in one.items():
        assert torch.allclose(value, two[name], rtol=0.0, atol=1e-4), (name, float((value - two[name]).abs().max()))


def test_bf16_multiplies_in_bf16_and_keeps_weights_whole() -> None:
    chips, seen = MadeChips(4), []
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, given, out: seen.append(out.dtype) if isinstance(module, torch.nn.Linear) else None
    )
    try:
        found = fit(chips, chips.ids, EDGE_M, Training(**{**QUICK.__dict__, "precision": "bf16"}))
    finally:
        hook.remove()
    assert torch.bfloat16 in seen
    assert {value.dtype for value in found.model.parameters()} == {torch.float32}
    whole = fit(chips, chips.ids, EDGE_M, QUICK)
    assert found.losses == pytest.approx(whole.losses, rel=0.05)  # CPUs multiply bf16 in different ways
    assert found.losses != whole.losses
    assert precision_of("auto", on_gpu=True) == "bf16-mixed"
    with pytest.raises(UserError, match="auto, bf16, fp32"):
        precision_of("fp8", on_gpu=False)


@pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:DeprecationWarning")  # the compiler's own
def test_a_compiled_trunk_says_and_learns_the_same() -> None:
    torch.manual_seed(0)
    plain, x = Trunk(12, 1, 1), torch.randn(1, 4, 12)
    compiled = copy.deepcopy(plain)
    assert compile_for(compiled, "cpu")
    one, two = plain(x), compiled(x)
    assert torch.allclose(one, two, atol=1e-5)
    one.square().sum().backward()
    two.square().sum().backward()
    for ours, theirs in zip(plain.parameters(), compiled.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-4)  # type: ignore[arg-type]


def test_without_a_compiler_training_goes_on_and_says_so(tmp_path: Path) -> None:
    made_dataset.write(tmp_path / "dataset", 5)
    empty = tmp_path / "no-programs"
    empty.mkdir()
    said = terraweft(
        "train", tmp_path / "dataset", "--steps", 1, "--batch-size", 1, "--accelerator", "cpu", "--compile",
        "--out", tmp_path / "trained",
        script=tmp_path / "terraweft", PATH=str(empty), TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "cache"),
    )  # fmt: skip
    assert "not compiled" in said
    assert "compiler" in said
    assert "Traceback" not in said
    assert (tmp_path / "trained" / "model.pt").is_file()
