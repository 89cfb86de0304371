"""A training recipe: everything that decides a run, in one YAML file (configs/training/)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from f2pnet.config.base import ConfigPath, StrictModel, load_yaml
from f2pnet.pictures.preprocess import Resize
from models.configuration import Module, SecondPass

WeightsChoice = Annotated[Literal["auto", "none"] | ConfigPath, Field(union_mode="left_to_right")]

MaskRule = Literal["foreground", "reference"]
DeviceChoice = Literal["auto", "cpu", "cuda"]
TrainingPrecision = Literal["auto", "fp32", "bf16"]


class DatasetChoice(StrictModel):
    """One data set of the mix."""

    path: ConfigPath = Field(description="data set folder, or a folder of such folders")
    train_list: str = Field("train.json", description="index file to train on")
    few_shot_list: str | None = Field(
        None, description="index file of the few-shot lists; null: few_shot_clean.json where it is, else few_shot.json"
    )
    val_share: float = Field(0.15, gt=0, lt=1, description="share of the parts held out for validation")
    weight: float = Field(1.0, gt=0, description="share of this set in the images drawn, against the other sets")
    defective_share: float | None = Field(
        None, ge=0, le=1, description="share of defective images among those drawn; null: as the recipe says"
    )


class Augmentation(StrictModel):
    """What may change between shifts: position, light, sharpness. Each value is the largest change drawn."""

    flips: bool = Field(True, description="mirrored left-right and top-bottom")
    turns: bool = Field(False, description="by 90 degrees; for surfaces that have no up and down")
    rotation_deg: float = Field(0.0, ge=0, le=180, description="by any angle up to this, either way")
    scale: float = Field(0.25, ge=0, lt=1, description="zoom factor 1/(1+scale) .. 1+scale")
    aspect: float = Field(0.15, ge=0, lt=1, description="stretch of one side against the other")
    shift: float = Field(0.15, ge=0, lt=1, description="of the side")
    exposure: float = Field(0.35, ge=0, description="all light times 1/(1+exposure) .. 1+exposure")
    contrast: float = Field(0.3, ge=0, lt=1, description="gain 1/(1+contrast) .. 1+contrast about the image's mean")
    shading: float = Field(0.25, ge=0, lt=1, description="share of the light gained and lost at opposite corners")
    noise: float = Field(0.02, ge=0, le=1, description="standard deviation, of the full range")
    synthetic: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the good images drawn that get a synthetic defect (training/steps/synthetic.py)",
    )
    blur_px: float = Field(1.0, ge=0, le=8, description="standard deviation at the network's size")


class LossWeights(StrictModel):
    """Weights of the losses: total = mask + pixel + image (+ prompted)."""

    mask: float = Field(1.0, ge=0, description="mask loss of the pass without prompts")
    pixel: float = Field(1.0, ge=0, description="loss of the pixel map")
    image: float = Field(1.0, ge=0, description="loss of the image score")
    prompted: float = Field(1.0, ge=0, description="mask loss of the pass with a prompt, on the steps that have one")
    taught: float = Field(1.0, ge=0, description="answering as the teacher does, in runs that have one")
    refined: float = Field(1.0, ge=0, description="mask loss of the second pass, in runs that have one")
    classes: float = Field(0.5, ge=0, description="cross entropy of the class map, in runs that train one")
    dice_on_good: bool = Field(False, description="Dice also on images without a defect, as the reference does")
    positive_start: float = Field(
        1.0,
        ge=1,
        description="weight of a defective pixel in the cross entropy at the first step, falling to 1 by the middle of "
        "the run; above 1, tiny defects are not ignored at the start",
    )


class LearningRates(StrictModel):
    """Learning rate of each part that may come pretrained, as a factor of `learning_rate`; 0: frozen; null: as the
    size prescribes, which freezes SAM's weights in SAM's own sizes and trains all else."""

    vit: float | None = Field(None, ge=0, description="the ViT")
    cnn: float | None = Field(None, ge=0, description="the CNN; of a baseline, its encoder")
    decoder: float | None = Field(None, ge=0, description="SAM's mask decoder and prompt encoder")


class TrainingRecipe(StrictModel):
    """A run. Equal recipe, data and machine give equal weights."""

    network: Literal["f2pnet", "unet", "segformer", "unet_imagenet"] = Field(
        "f2pnet", description="f2pnet, or a baseline to compare with"
    )
    sam_type: str = Field("nano", description="size of F2P-Net")
    without: tuple[Module, ...] = Field((), description="modules of F2P-Net left out, to see what each brings")
    image_size: int = Field(256, ge=32, le=2048, description="side of the network's input, pixels")
    resize: Resize = Field(
        "stretch",
        description="how an image becomes square: stretch; letterbox keeps its aspect ratio and fills the rest",
    )
    datasets: tuple[DatasetChoice, ...] = Field((), description="`f2p train --dataset` takes their place")
    shots: int | None = Field(None, ge=1, description="few-shot list of this size; null: the full list")
    seed: int = Field(3407, ge=0, description="of start weights, draws and augmentation")
    split_seed: int = Field(3407, ge=0, description="of what is held out; the same in recipes that build on each other")

    defective_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of defective images among those drawn, in data sets with both; null: as each set has them",
    )
    even_classes: bool = Field(
        False, description="draw each defect class of a data set equally often, however few images a class has"
    )
    folds: int | None = Field(
        None,
        ge=2,
        le=8,
        description="for few images: hold out none, train on all, and choose thresholds on the answers of this many "
        "shorter runs, each for the images it was trained without",
    )
    fold_share: float = Field(0.5, gt=0, le=1, description="steps of a fold's run, of `steps`")

    prompts: Literal["mixed", "reference"] = Field(
        "mixed",
        description="mixed: a pass without prompts, on some steps one with; reference: prompts from the truth wherever "
        "there is a defect, as the published code trains (D3)",
    )
    second_pass: SecondPass = Field(
        "none",
        description="what the network makes of its own pixel map to prompt a second decoding, in training, evaluation "
        "and engine alike: the map itself as a mask, its peaks as points, or boxes around findings; none: one decoding",
    )
    pixel_target: Literal["union", "first_object"] = Field(
        "union", description="what the pixel map learns; first_object: one defect of the image, as published (D11)"
    )
    mask_rule: MaskRule = Field(
        "foreground", description="reference: of a mask only what has its largest value, as published (D10)"
    )
    select_on: Literal["validation", "test"] = Field(
        "validation",
        description="test: choose best.pth on test.json, as published (D4); with `prompts: reference` only",
    )

    start_from: ConfigPath | None = Field(
        None, description="checkpoint whose weights the run begins with, e.g. best.pth of an earlier recipe; null: none"
    )
    sam_weights: WeightsChoice = Field(
        "auto",
        description="weights that the SAM part begins with. auto: those published for this `sam_type`, and none where "
        "there are none (nano, tiny); none: random ones; or a file",
    )
    cnn_weights: WeightsChoice = Field(
        "auto", description="the same for the CNN part: ImageNet weights of this kind of CNN; or a file"
    )
    teacher: ConfigPath | None = Field(
        None, description="checkpoint of a larger network whose answers are learned too (distillation); null: none"
    )
    steps: int = Field(2000, ge=1, description="optimiser steps; the learning rate falls over all of them")
    stop_after: int | None = Field(None, ge=1, description="end the run at this step, in mid-fall; null: at the last")
    batch: int = Field(16, ge=1, description="images in a step, over all processes")
    class_map: bool = Field(False, description="also learn which class a defective pixel has")
    accumulate: int = Field(1, ge=1, description="parts that a step's images pass in, one by one; saves memory")
    learning_rate: float = Field(1e-3, gt=0, description="peak")
    rates: LearningRates = Field(LearningRates(), description="learning rates of parts that may come pretrained")
    final_learning_rate: float = Field(1e-5, ge=0, description="where the cosine ends")
    warmup_steps: int = Field(100, ge=0, description="steps of the linear rise at the start")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's")
    clip_norm: float | None = Field(1.0, gt=0, description="largest gradient norm; null: no clipping")
    ema_decay: float = Field(0.998, ge=0, lt=1, description="of the averaged weights, which are the ones kept")
    prompted_share: float = Field(0.25, ge=0, le=1, description="share of the steps with a second, prompted pass")
    precision: TrainingPrecision = Field(
        "fp32",
        description="bf16: products in bfloat16, weights in float32; auto: bf16 where the processor has such products",
    )
    device: DeviceChoice = Field("auto", description="auto: a GPU where torch sees one, else the CPU")
    threads: int | None = Field(None, ge=1, description="CPU threads; null: torch's choice. Another number, other sums")
    losses: LossWeights = Field(LossWeights(), description="weights of the losses")
    augmentation: Augmentation = Field(Augmentation(), description="what may change between shifts")

    evaluate_every: int = Field(250, ge=1, description="steps between validations; each may make a new best.pth")
    patience: int | None = Field(
        None, ge=1, description="end the run after this many validations without a better one; null: never"
    )
    save_every: int = Field(100, ge=1, description="steps between saves of last.pth, from which --resume goes on")
    log_every: int = Field(10, ge=1, description="steps between lines of log.jsonl")
    notes: str | None = Field(None, description="licences of the data and whatever else users of the engine must know")

    @model_validator(mode="after")
    def _baselines_are_plain(self) -> Self:
        if self.network != "f2pnet" and self.prompted_share > 0:
            raise ValueError(f"prompted_share is {self.prompted_share}, wanted 0: {self.network} takes no prompts")
        if self.network != "f2pnet" and self.without:
            raise ValueError(f"without is {list(self.without)}, wanted []: {self.network} has no such modules")
        if self.network != "f2pnet" and self.class_map:
            raise ValueError(f"class_map is true, wanted false: {self.network} has no class map")
        if self.network != "f2pnet" and self.prompts != "mixed":
            raise ValueError(f"prompts is '{self.prompts}', wanted 'mixed': {self.network} takes no prompts")
        return self

    @model_validator(mode="after")
    def _the_test_list_is_kept_for_the_end(self) -> Self:
        if self.select_on == "test" and self.prompts != "reference":
            raise ValueError("select_on is 'test', wanted 'validation': only `prompts: reference` chooses on tests")
        return self

    @model_validator(mode="after")
    def _the_published_protocol_is_binary(self) -> Self:
        if self.prompts == "reference" and self.second_pass != "none":  # noqa: S105 (no password)
            raise ValueError(f"second_pass is {self.second_pass}, wanted none: prompts 'reference' trains one pass")
        if self.prompts == "reference" and self.class_map:
            raise ValueError("class_map is true, wanted false: prompts 'reference' trains masks alone")
        return self

    @model_validator(mode="after")
    def _folds_hold_out(self) -> Self:
        if self.folds is not None and self.select_on == "test":
            raise ValueError(f"folds is {self.folds}, wanted null: select_on 'test' holds out nothing")
        return self

    @model_validator(mode="after")
    def _a_step_can_be_cut(self) -> Self:
        if self.accumulate > self.batch:
            raise ValueError(f"accumulate is {self.accumulate}, wanted at most batch ({self.batch}): an image each")
        return self

    @model_validator(mode="after")
    def _warm_up_ends(self) -> Self:
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps is {self.warmup_steps}, wanted fewer than steps ({self.steps})")
        return self


def load_recipe(path: Path) -> TrainingRecipe:
    """Read a recipe; raises ConfigError or MissingResource with all problems at once."""
    return load_yaml(path, TrainingRecipe)
