"""The Inspector: an engine and a recipe, applied to images. Pipeline, commands and evaluation inspect through it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from f2pnet.backends import Backend, BackendFacts, Device, open_backend, open_checkpoint
from f2pnet.engine.bundle import Bundle, Precision, open_bundle
from f2pnet.errors import ClosedError
from f2pnet.inspection.grading import Graded, as_mask
from f2pnet.inspection.judging import Judge
from f2pnet.inspection.notebook import remember_image
from f2pnet.inspection.recipe import Recipe, load_recipe
from f2pnet.inspection.result import InspectionResult
from f2pnet.inspection.tiles import View, Window, merge, windows
from f2pnet.pictures.preprocess import Image, as_frame


class Inspector:
    """Turns images into verdicts. One thread at a time; use as a context manager, or call `close`.

    >>> with Inspector.open("configs/engines/surface-nano") as inspector:  # doctest: +SKIP
    ...     result = inspector.inspect(image_bgr)
    """

    def __init__(self, bundle: Bundle, backend: Backend, recipe: Recipe) -> None:
        self.bundle = bundle
        self._backend = backend
        self._closed = False
        self._judge = Judge(bundle, backend.facts, recipe)
        self._batch = backend.buffer(backend.facts.max_batch)

    @classmethod
    def open(
        cls,
        bundle: Bundle | Path | str,
        recipe: Recipe | Path | str | None = None,
        *,
        backend: str = "auto",
        device: Device = "auto",
        threads: int | None = None,
        precision: Precision | None = None,
        allow_fallback: bool = False,
    ) -> Self:
        """Open an engine bundle (a folder, or one that is opened) with a recipe (None: the engine's own thresholds).

        `device`: auto takes a GPU where one works; one asked for by name and absent is an error. `threads`: CPU threads
        of one engine run. `precision`: which of the bundle's files; None: the backend's first. `allow_fallback`: the
        CPU in place of a GPU that is absent. Raises MissingResource, BundleError, ConfigError or BackendError, each
        with its cure.
        """
        opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        rules = recipe if isinstance(recipe, Recipe) else load_recipe(recipe) if recipe is not None else Recipe()
        rules.check_classes(opened.manifest.classes)  # before the engine is loaded, which may take seconds
        running = open_backend(
            backend, opened, device=device, threads=threads, precision=precision, allow_fallback=allow_fallback
        )
        return cls(opened, running, rules)

    @classmethod
    def of_checkpoint(cls, path: Path | str, recipe: Recipe | Path | str | None = None) -> Self:
        """Open a checkpoint as `f2p train` leaves it, run by torch: slower than an engine, and needs the extra `train`.

        Raises MissingExtra, MissingResource or ConfigError, each with its cure.
        """
        rules = recipe if isinstance(recipe, Recipe) else load_recipe(recipe) if recipe is not None else Recipe()
        bundle, backend = open_checkpoint(Path(path))
        rules.check_classes(bundle.manifest.classes)
        return cls(bundle, backend, rules)

    @property
    def facts(self) -> BackendFacts:
        """What runs the engine, and where."""
        return self._backend.facts

    def use_recipe(self, recipe: Recipe) -> None:
        """Judge by another recipe from the next image on. Raises ConfigError where it does not fit the engine."""
        self._judge = Judge(self.bundle, self.facts, recipe)

    @property
    def recipe(self) -> Recipe:
        """What images are judged by."""
        return self._judge.recipe

    @property
    def stages(self) -> tuple[Backend, Judge]:
        """The engine, and the steps before and after it: for programs that let them overlap."""
        self._check_open()
        return self._backend, self._judge

    @property
    def classes(self) -> tuple[str, ...]:
        """The engine's defect classes, in its order."""
        return tuple(self.bundle.manifest.classes)

    def inspect(self, image: Image) -> InspectionResult:
        """Inspect one image, (H, W, 3) BGR or (H, W) grey, uint8.

        Raises ConfigError when it is not such an image, BackendError when the engine fails (never a silent OK), and
        ClosedError after `close`, as every method here.
        """
        return self.inspect_batch([image])[0]

    def inspect_batch(self, images: Sequence[Image]) -> list[InspectionResult]:
        """Inspect several images, of different sizes if need be; as `inspect`, in fewer runs of the engine."""
        return [result for result, _, _ in self._inspect(images)]

    def inspect_with_mask(self, image: Image) -> tuple[InspectionResult, NDArray[np.uint8]]:
        """As `inspect`, and the defects' mask: (H, W) uint8, 255 where a defect is reported or graded, else 0."""
        return self.inspect_batch_with_masks([image])[0]

    def inspect_batch_with_masks(self, images: Sequence[Image]) -> list[tuple[InspectionResult, NDArray[np.uint8]]]:
        """As `inspect_batch`, with each image's mask."""
        return [(result, as_mask(found, *size)) for result, found, size in self._inspect(images)]

    def probability_map(self, image: Image) -> NDArray[np.float32]:
        """Defect probability of each source pixel (H, W), 0..1, before any threshold, ROI or area: for evaluation."""
        frame = as_frame(image)
        height, width = frame.shape[:2]
        views = self._look([frame], [windows(width, height, self.recipe.tiles)])[0]
        return merge(views, Window(0, 0, width, height)).probability

    def warm_up(self, most: int = 1) -> dict[int, float]:
        """Run the engine on grey images, up to `most` at once, so that the first part does not wait for it.

        Returns what a run takes then, ms, by the number of images.
        """
        self._check_open()
        return self._backend.warm_up(most)

    def close(self) -> None:
        """Free the engine. Closing twice is no error."""
        if not self._closed:
            self._closed = True
            self._backend.close()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _inspect(self, images: Sequence[Image]) -> Iterator[tuple[InspectionResult, list[Graded], tuple[int, int]]]:
        """For each image its result, its defects and its (width, height)."""
        started = time.perf_counter()
        frames = [as_frame(image) for image in images]
        sizes = [(frame.shape[1], frame.shape[0]) for frame in frames]
        judge = self._judge
        plans = [judge.plan(*size) for size in sizes]
        looked = self._look(frames, [plan.windows for plan in plans])
        engine_ms = (time.perf_counter() - started) * 1e3
        for image, views, plan, size in zip(images, looked, plans, sizes, strict=True):
            started = time.perf_counter()
            found = judge.find(views, plan)
            result = judge.result(views, found, engine_ms, started)
            remember_image(result, image, size)
            yield result, found, size

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("this Inspector is closed: open it again, or use it inside of its `with` block")

    def _look(self, frames: Sequence[Image], wanted: Sequence[Sequence[Window]]) -> list[list[View]]:
        """The engine's view of the wanted windows of each frame, in as few runs as `max_batch` allows."""
        self._check_open()
        jobs = [(index, window) for index, pieces in enumerate(wanted) for window in pieces]
        looked: list[list[View]] = [[] for _ in frames]
        most = self.facts.max_batch
        for start in range(0, len(jobs), most):
            chunk = jobs[start : start + most]
            views = self._run([(frames[index], window) for index, window in chunk])
            for (index, _), view in zip(chunk, views, strict=True):
                looked[index].append(view)
        return looked

    def _run(self, pieces: Sequence[tuple[Image, Window]]) -> list[View]:
        batch = self._batch[: len(pieces)]
        for (frame, window), slot in zip(pieces, batch, strict=True):
            self._judge.feed(frame, window, slot)
        return self._judge.views(self._backend.run(batch), [window for _, window in pieces])
