"""The losses of one step: a pass without prompts on every image, sometimes a second one with prompts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.decoders.afdec import Encoded
from models.f2pnet import F2PNet
from models.prompt_free import second_mask
from training.recipe import LossWeights, TrainingRecipe
from training.steps.batches import Batch, step_generator
from training.steps.losses import class_loss, hidden, image_loss, mask_loss
from training.steps.prompts import PromptBatch, draw_prompt_batch
from training.steps.reference_prompts import ReferencePrompt, draw_reference_prompts, first_objects
from training.steps.teacher import Teacher, taught_loss

BATCH, PROMPT = 0, 1  # purposes of a step's random numbers

Terms = dict[str, Tensor]
"""`mask`, `pixel`, `image`; `classes`, `refined` and `taught` in runs with a class map, a second pass or a teacher;
`prompted` on steps with a prompt from the truth. Each is a scalar."""


class StepLosses(nn.Module):
    """The network with its losses, in one module: that is what several processes can train together."""

    def __init__(self, network: F2PNet, recipe: TrainingRecipe, device: torch.device) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.device = device
        self.teacher = None if recipe.teacher is None else Teacher(recipe.teacher, device)

    def forward(self, batch: Batch, asked: PromptsOfStep, positive_weight: float = 1.0) -> Terms:
        """The terms of some images of a step. Its two passes share one run of the encoder.

        `positive_weight` counts a defective pixel so many times in the cross entropy of mask and pixel map. The image
        loss belongs to the pass without prompts alone (D3).
        """
        images = batch.images.to(self.device).contiguous(memory_format=torch.channels_last)
        masks, labels = batch.masks.to(self.device), batch.labels.to(self.device)
        ignored = None if batch.ignored is None else batch.ignored.to(self.device)
        pixel_masks = masks if self.recipe.pixel_target == "union" else first_objects(batch.masks).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            encoded = self.network.encode(images)
            if isinstance(asked, list):
                return self._reference_terms(encoded, asked, pixel_masks, labels, ignored)
            free = self.network.decode(encoded)
            if self.recipe.second_pass != "none":  # noqa: S105 (no password)
                refined = second_mask(self.network, encoded, free)[:, None]
            if asked is not None:
                answered = self.network.decode(encoded, asked.prompts(free.mask_logits.float()))
        terms = {
            "mask": self._mask_loss(free.mask_logits, masks, ignored, positive_weight),
            "pixel": self._mask_loss(free.pixel_logits, pixel_masks, ignored, positive_weight),
            "image": image_loss(free.image_logits.float(), labels),
        }
        if batch.classes is not None and free.class_logits is not None:
            terms["classes"] = class_loss(free.class_logits, batch.classes.to(self.device))
        if self.recipe.second_pass != "none":  # noqa: S105
            terms["refined"] = self._mask_loss(refined, masks, ignored, positive_weight)
        if self.teacher is not None:
            terms["taught"] = taught_loss(free, self.teacher.answers(images))
        if asked is not None:
            terms["prompted"] = self._mask_loss(answered.mask_logits, asked.targets.to(self.device), ignored)
        return terms

    def _reference_terms(
        self,
        encoded: Encoded,
        asked: list[ReferencePrompt],
        pixel_masks: Tensor,
        labels: Tensor,
        ignored: Tensor | None,
    ) -> Terms:
        """Image by image, since each has its own number of prompts; a mean over images."""
        sums: Terms = {}
        for number, question in enumerate(asked):
            one = slice(number, number + 1)
            own = Encoded(*(None if part is None else part[one] for part in encoded))  # type: ignore[arg-type]
            unseen = None if ignored is None else ignored[one]
            found = self.network.decode(own, question.prompts(self.network.config.map_size, self.device))
            with torch.autocast(self.device.type, enabled=False):
                terms = {
                    "mask": self._mask_loss(
                        found.mask_logits.transpose(0, 1), question.targets.to(self.device), unseen
                    ),
                    "pixel": self._mask_loss(found.pixel_logits, pixel_masks[one], unseen),
                    "image": image_loss(found.image_logits.float(), labels[one]),
                }
            sums = {name: term + sums.get(name, 0) for name, term in terms.items()}
        return {name: term / len(asked) for name, term in sums.items()}

    def _mask_loss(
        self, logits: Tensor, targets: Tensor, ignored: Tensor | None, positive_weight: float = 1.0
    ) -> Tensor:
        on_good = self.recipe.losses.dice_on_good
        seen = hidden(logits.float(), ignored)
        return mask_loss(seen, targets, dice_on_good=on_good, positive_weight=positive_weight)


PromptsOfStep = PromptBatch | list[ReferencePrompt] | None


def draw_asked(batch: Batch, recipe: TrainingRecipe, step: int) -> PromptsOfStep:
    """What a step asks about all of its images; None where it has no second pass."""
    rng = step_generator(recipe.seed, step, PROMPT)
    if recipe.prompts == "reference":
        return draw_reference_prompts(batch.masks, rng)
    return draw_prompt_batch(batch.masks, rng) if rng.random() < recipe.prompted_share else None


def asked_of(asked: PromptsOfStep, images: slice) -> PromptsOfStep:
    """What is asked about some of the images."""
    if asked is None:
        return None
    return asked[images] if isinstance(asked, list) else asked.of(images)


def total(terms: Terms, weights: LossWeights) -> Tensor:
    """The weighted sum that is trained."""
    loss = weights.mask * terms["mask"] + weights.pixel * terms["pixel"] + weights.image * terms["image"]
    others = (
        ("refined", weights.refined),
        ("taught", weights.taught),
        ("prompted", weights.prompted),
        ("classes", weights.classes),
    )
    for name, weight in others:
        if name in terms:
            loss = loss + weight * terms[name]
    return loss
