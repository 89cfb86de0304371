"""README.md of a bundle: what the engine is, what it was made from, and every figure with its protocol."""

from __future__ import annotations

from collections.abc import Sequence

from f2pnet.engine.bundle import Artifact, Manifest, MetricSheet, Parity, TrainingFacts


def engine_card(manifest: Manifest) -> str:
    """Markdown text; the manifest beside it holds the same facts for machines."""
    network, limits = manifest.network, manifest.thresholds
    return f"""# {manifest.name}

F2P-Net, size {network.sam_type}: {network.image_size} x {network.image_size} RGB uint8 in,
{network.parameters:,} parameters. Made {manifest.created_at:%Y-%m-%d} from a checkpoint with sha256
`{(manifest.checkpoint_sha256 or "unknown")[:12]}`.

Defects are cut from the output `{manifest.defect_output}` at {limits.pixel:g}; frames with an image score below
{limits.score:g} pass unseen, and so do regions under {limits.min_area_px} px. A recipe may override each.

## Trained on

{manifest.training.dataset}{f", {manifest.training.shots} shots" if manifest.training.shots else ""}

{_start(manifest.training)}

{manifest.training.notes or "No notes."}

## Figures

Without prompts, one look per image. Pixel figures are pooled over all pixels of the images at source size.

{_figures(manifest.training.metrics)}
{"".join(f"{chr(10)}**Blind: {blind}. It was exported by force.**{chr(10)}" for blind in manifest.training.blind_on)}
## Files

| file | format | precision | batch | layers left in float |
| --- | --- | --- | --- | --- |
{_files(manifest.artifacts)}

## Agreement with the checkpoint

| file | images of | images | mask IoU mean | mask IoU min | largest difference | same verdict |
| --- | --- | --- | --- | --- | --- | --- |
{_agreement(manifest.artifacts)}
"""


def _start(training: TrainingFacts) -> str:
    if training.from_scratch:
        return "Trained from scratch: no pretrained weights."
    if not training.priors:
        return "What its weights began as is not known."
    rows = [f"| {p.part} | {p.file} | `{p.sha256[:12]}` | {p.licence} | {p.source} |" for p in training.priors]
    return "\n".join(
        ["Started from:", "", "| part | file | sha256 | licence | source |", "| --- | --- | --- | --- | --- |", *rows]
    )


def _files(artifacts: Sequence[Artifact]) -> str:
    rows = []
    for artifact in artifacts:
        batch = f"{artifact.max_batch}" if artifact.static_batch else f"1 to {artifact.max_batch}"
        floats = f"{len(artifact.float_layers)}" if artifact.precision == "int8" else ""
        names = ", ".join(f"`{name}`" for name in artifact.files)
        rows.append(f"| {names} | {artifact.format} | {artifact.precision} | {batch} | {floats} |")
    return "\n".join(rows)


def _agreement(artifacts: Sequence[Artifact]) -> str:
    """One row for each artifact and set; halves are proven in a row, as one, and have none."""
    return "\n".join(
        f"| `{artifact.file}` {_parity(p)}"
        for artifact in artifacts
        for p in artifact.parities or ([artifact.parity] if artifact.parity else [])
    )


def _figures(sheets: Sequence[MetricSheet]) -> str:
    names = list(dict.fromkeys(name for sheet in sheets for name in sheet.values))
    rows = [["data set", "split", "protocol", "images", *names], ["---"] * (len(names) + 4)]
    for sheet in sheets:
        cells = [f"{sheet.values[name]:.3f}" if name in sheet.values else "" for name in names]
        rows.append([sheet.dataset, sheet.split, sheet.protocol, str(sheet.images), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) if sheets else "None measured."


def _parity(p: Parity) -> str:
    return (
        f"| {p.dataset} | {p.images} | {p.mask_iou_mean:.5f} | {p.mask_iou_min:.5f} | {p.max_abs_diff:.1e} "
        f"| {p.verdict_agreement:.3f} |"
    )
