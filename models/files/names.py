"""How the same tensors are called: by us, by SAM's checkpoints, and by the authors of F2P-Net.

The canonical name is SAM's for SAM's parts, and the authors' for theirs, without their doubles.
"""

import re

OURS_TO_CANONICAL = (
    (r"vicnet\.vit\.", "image_encoder."),
    (r"vicnet\.cnn\.", "image_encoder.Auxiliary_encoder."),
    (r"vicnet\.fpn\.", "image_encoder.fpn."),
    (r"vicnet\.evpt\.handcrafted\.", "image_encoder.prompt_generator.prompt_generator.proj."),
    (r"vicnet\.evpt\.embedding\.", "image_encoder.prompt_generator.embedding_generator."),
    (r"vicnet\.evpt\.own\.(\d+)\.", r"image_encoder.prompt_generator.lightweight_mlp_\1.0."),
    (r"vicnet\.evpt\.shared\.", "image_encoder.prompt_generator.shared_mlp."),
    (r"vicnet\.evpt\.hf_down\.(\d+)\.", r"image_encoder.hq_token_down_proj.\1.adapter.0."),
    (r"vicnet\.evpt\.hf_up\.", "image_encoder.shared_up_proj."),
    (r"decoder\.sam\.", "mask_decoder."),
    (r"decoder\.image_head\.", "mask_decoder.image_level_abnormality_head."),
    (r"decoder\.pixel_head\.", "mask_decoder.pixel_classification_head."),
    (r"decoder\.", "mask_decoder."),
)
"""The first pattern that matches the start of our name replaces it."""

DOUBLES_TO_CANONICAL = (
    (r"ori_sam\.", ""),
    (r"image_encoder\.sam_img_encoder\.", "image_encoder."),
    (r"prompt_encoder\.sam_prompt_encoder\.", "prompt_encoder."),
    (r"image_encoder\.hq_token$", "mask_decoder.hf_token.weight"),
)
"""The authors' files hold some tensors under several names."""


def canonical_name(ours: str) -> str:
    return _rename(ours, OURS_TO_CANONICAL)


def canonical_of_authors(theirs: str) -> str:
    return _rename(theirs, DOUBLES_TO_CANONICAL)


def _rename(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for start, replacement in rules:
        renamed, count = re.subn("^" + start, replacement, name)
        if count:
            return renamed
    return name
