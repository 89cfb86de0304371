"""Images per second and core in training, forward and backward: F2P-Net beside the baselines, taking turns in one run.

    python benchmarks/training_throughput.py --page docs/benchmarks/training.md

Taking turns makes a busy machine equally unfair to all; CPU seconds are given beside wall time, since they tell of the
network where wall time tells of the neighbours. On a GPU its memory's transfers count, and vit_b joins.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from f2pnet.machine import machine_facts
from training.networks.trainable import new_network
from training.recipe import TrainingRecipe
from training.steps.losses import image_loss, mask_loss

BATCH = 12
ROUNDS = 5


@dataclass
class Entrant:
    """One network in one precision."""

    name: str
    precision: str
    parameters: int
    step: Callable[[], None]
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def take_turn(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.step()
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", type=int, default=192, help="side of the images, pixels")
    options.add_argument("--page", type=Path, help="write the table here, and the figures beside it as JSON")
    chosen = options.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    networks = ["f2pnet nano", "unet", "segformer", *(["f2pnet vit_b"] if device.type == "cuda" else [])]
    entrants = [_entrant(name, precision, chosen.size, device) for name in networks for precision in ("fp32", "bf16")]
    for entrant in entrants:
        entrant.step()
    for _ in range(ROUNDS):
        for entrant in entrants:
            entrant.take_turn()
    facts = {"machine": machine_facts(), "device": str(device), "size_px": chosen.size, "batch": BATCH}
    rows = [_figures(entrant) for entrant in entrants]
    page = _page(facts, rows)
    print(page)
    if chosen.page is not None:
        chosen.page.write_text(page, encoding="utf-8")
        chosen.page.with_suffix(".json").write_text(
            json.dumps(facts | {"rows": rows}, indent=2) + "\n", encoding="utf-8"
        )


def _entrant(name: str, precision: str, size: int, device: torch.device) -> Entrant:
    network_name, _, sam_type = name.partition(" ")
    recipe = TrainingRecipe.model_validate(
        {
            "network": network_name,
            "sam_type": sam_type or "nano",
            "image_size": size,
            "prompted_share": 0.0,
            "sam_weights": "none",
            "cnn_weights": "none",
        }
    )
    torch.manual_seed(0)
    network = new_network(recipe).network.to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    images = (torch.rand(BATCH, 3, size, size) * 255).to(device=device, memory_format=torch.channels_last)
    masks = (torch.rand(BATCH, 1, size, size) > 0.9).float().to(device)
    labels = torch.ones(BATCH, device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            found = network.decode(network.encode(images))
        loss = mask_loss(found.mask_logits.float(), masks) + mask_loss(found.pixel_logits.float(), masks)
        (loss + image_loss(found.image_logits.float(), labels)).backward()  # type: ignore[no-untyped-call]
        network.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return Entrant(name, precision, sum(p.numel() for p in network.parameters()), step)


def _figures(entrant: Entrant) -> dict[str, object]:
    wall, cpu = statistics.median(entrant.wall_s), statistics.median(entrant.cpu_s)
    return {
        "network": entrant.name,
        "precision": entrant.precision,
        "parameters": entrant.parameters,
        "images_per_s": round(BATCH / wall, 1),
        "images_per_cpu_s": round(BATCH / cpu, 1),
    }


def _page(facts: dict[str, object], rows: list[dict[str, object]]) -> str:
    machine = facts["machine"]
    assert isinstance(machine, dict)  # noqa: S101 - for the type checker
    names = ("network", "precision", "parameters", "images_per_s", "images_per_cpu_s")
    table = "\n".join("| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows)
    return f"""# Training throughput

Measured on {machine["date"]} by `python benchmarks/training_throughput.py --page ...`:
{machine["cpu"]}, {machine["cores"]} cores of which one thread is used, load {machine["load_1m"]} when the run ended,
torch {machine["packages"].get("torch")}, device {facts["device"]}. Forward and backward of {facts["batch"]} images
of {facts["size_px"]} px a side, without a prompted pass; the networks take turns, median of {ROUNDS} steps each.
Per CPU second is the fairer column on a shared machine.

| network | precision | parameters | images / s | images / CPU s |
| --- | --- | ---: | ---: | ---: |
{table}
"""


if __name__ == "__main__":
    main()
