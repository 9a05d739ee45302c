"""litdata and mosaicml-streaming for P5: the same arrays, written and read as their documentation says.

    python bench/peers/loaders.py write litdata FOLDER COUNT
    python bench/peers/loaders.py read litdata FOLDER COUNT BATCH WORKERS

``read`` prints the seconds of an epoch of batches of torch tensors, and of the next.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
warnings.simplefilter("ignore")

from bench.reading_sets import BANDS, DATES, EDGE, sample_of  # noqa: E402

SHAPES = {
    "data": ("uint16", (DATES, BANDS, EDGE, EDGE)),
    "valid": ("uint8", (DATES, EDGE, EDGE)),
    "label": ("uint8", (EDGE, EDGE)),
    "confidence": ("uint8", (EDGE, EDGE)),
}


def arrays(number: int) -> dict[str, Any]:
    sample = sample_of(number)
    layer = sample.layers["s2"]
    return {"data": layer.data, "valid": layer.valid, "label": sample.label, "confidence": sample.confidence}


def write(name: str, folder: str, count: int) -> None:
    if name == "litdata":
        import litdata

        litdata.optimize(
            arrays, inputs=list(range(count)), output_dir=folder, chunk_bytes="128MB", num_workers=1, mode="overwrite"
        )
        return
    from streaming import MDSWriter

    columns = {key: f"ndarray:{dtype}:{','.join(map(str, shape))}" for key, (dtype, shape) in SHAPES.items()}
    with MDSWriter(out=folder, columns=columns, size_limit=128 << 20) as writer:
        for number in range(count):
            writer.write(arrays(number))


def read(name: str, folder: str, count: int, batch: int, workers: int) -> list[float]:
    import torch

    torch.set_num_threads(1)
    loader: Any
    if name == "litdata":
        import litdata

        dataset = litdata.StreamingDataset(folder, shuffle=True)
        loader = litdata.StreamingDataLoader(dataset, batch_size=batch, num_workers=workers)
    else:
        from streaming import StreamingDataset

        dataset = StreamingDataset(local=folder, shuffle=True, batch_size=batch, num_canonical_nodes=1)
        loader = torch.utils.data.DataLoader(dataset, batch_size=batch, num_workers=workers)
    return [epoch(name, loader, count) for _ in range(2)]


def epoch(name: str, loader: Any, count: int) -> float:
    started, seen = time.perf_counter(), 0
    for found in loader:
        seen += len(found["data"])
    seconds = time.perf_counter() - started
    if seen != count:
        raise SystemExit(f"{name}: {seen} samples of {count}")
    return seconds


if __name__ == "__main__":
    what, peer, where, *numbers = sys.argv[1:]
    if what == "write":
        write(peer, where, int(numbers[0]))
    else:
        print(json.dumps({"seconds": read(peer, where, *map(int, numbers))}))
