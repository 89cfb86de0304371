"""Tiny data sets as label tools write them. Each holds four images: two with the rectangle RECT, two good ones.

RECT is drawn by hand here, as pixels, so that what a reader makes of an outline is held against an independent value.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIDE = (24, 30)  # height, width
ROWS, COLUMNS = slice(4, 9), slice(6, 12)


def rect() -> np.ndarray:
    mask = np.zeros(SIDE, bool)
    mask[ROWS, COLUMNS] = True
    return mask


def outline() -> list[list[float]]:
    """Its corners in pixels, as COCO counts: the far sides lie one pixel further."""
    return [[6, 4], [12, 4], [12, 9], [6, 9]]


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(60, 200, SIDE).astype(np.uint8)
    cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 1.0 + seed / 4))
    return path


def pictures(folder: Path, count: int = 4, suffix: str = ".png") -> list[Path]:
    return [picture(folder / f"p{number}{suffix}", number) for number in range(count)]


def write_mask(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def plain(folder: Path) -> None:
    pictures(folder / "images", 2, ".jpg")
    picture(folder / "good/g0.png", 7)
    picture(folder / "images/p3.jpg", 8)
    for number in range(2):
        write_mask(folder / f"masks/p{number}.png", rect().astype(np.uint8) * 255)


def yolo(folder: Path) -> None:
    height, width = SIDE
    pictures(folder / "images/train")
    numbers = " ".join(f"{x / width:.6f} {y / height:.6f}" for x, y in outline())
    (folder / "labels/train").mkdir(parents=True)
    for number in range(2):
        (folder / f"labels/train/p{number}.txt").write_text(f"1 {numbers}\n")
    (folder / "labels/train/p2.txt").write_text("")
    (folder / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: [dent, scratch]\n")
    picture(folder / "images/val/q0.png", 9)


def voc(folder: Path) -> None:
    pictures(folder / "JPEGImages", suffix=".jpg")
    for number in range(4):
        indices = (rect() * 2 if number < 2 else rect() * 0).astype(np.uint8)
        if number < 2:
            indices[3, 5:13] = 255
        paletted = Image.fromarray(indices)
        paletted.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 756 + [224, 224, 192])
        (folder / "SegmentationClass").mkdir(exist_ok=True)
        paletted.save(folder / f"SegmentationClass/p{number}.png")
    (folder / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndent:128,0,0::\nscratch:0,128,0::\n"
    )
    (folder / "ImageSets/Segmentation").mkdir(parents=True)
    (folder / "ImageSets/Segmentation/train.txt").write_text("p0\np2\n")
    (folder / "ImageSets/Segmentation/val.txt").write_text("p1\np3\n")


def labelme(folder: Path) -> None:
    height, width = SIDE
    for number, path in enumerate(pictures(folder)):
        shapes = [{"label": "scratch", "shape_type": "polygon", "points": outline()}] if number == 0 else []
        if number == 1:
            png = cv2.imencode(".png", np.full((5, 6), 1, np.uint8))[1].tobytes()
            text = base64.b64encode(png).decode()
            shapes = [{"label": "scratch", "shape_type": "mask", "points": [[6, 4], [11, 8]], "mask": text}]
        path.with_suffix(".json").write_text(
            json.dumps(
                {
                    "version": "5.5.0",
                    "flags": {},
                    "shapes": shapes,
                    "imagePath": path.name,
                    "imageData": None,
                    "imageHeight": height,
                    "imageWidth": width,
                }
            )
        )


def cvat(folder: Path) -> None:
    height, width = SIDE
    pictures(folder / "images")
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in outline())
    shapes = [
        f'<polygon label="scratch" points="{points}" z_order="0"></polygon>',
        '<mask label="scratch" rle="0, 30" left="6" top="4" width="6" height="5"></mask>',
        "",
        "",
    ]
    images = "".join(
        f'<image id="{number}" name="p{number}.png" width="{width}" height="{height}">{shape}</image>'
        for number, shape in enumerate(shapes)
    )
    (folder / "annotations.xml").write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{images}</annotations>'
    )


def label_studio(folder: Path) -> None:
    height, width = SIDE
    pictures(folder / "images")
    sides = {"original_width": width, "original_height": height, "image_rotation": 0}
    percent = [[100 * x / width, 100 * y / height] for x, y in outline()]
    results = [
        [{"id": "a", "type": "polygonlabels", **sides, "value": {"points": percent, "polygonlabels": ["scratch"]}}],
        [{"id": "b", "type": "brushlabels", **sides,
          "value": {"format": "rle", "rle": brush(rect()), "brushlabels": ["scratch"]}}],
        [],
        [],
    ]  # fmt: skip
    tasks = [
        {"id": number, "data": {"image": f"/data/upload/1/1a2b3c4d-p{number}.png"},
         "annotations": [{"id": 10 + number, "was_cancelled": False, "result": result}]}
        for number, result in enumerate(results)
    ]  # fmt: skip
    (folder / "project-1.json").write_text(json.dumps(tasks))


def brush(mask: np.ndarray) -> list[int]:
    """Run lengths as Label Studio packs them: 32 bits of count, 5 of value bits, four lengths of run lengths."""
    bits = f"{4 * mask.size:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    flat = np.repeat(mask.ravel(), 4)
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    for run in np.split(flat, edges):
        bits += f"1{3:02b}{len(run) - 1:016b}{255 if run[0] else 0:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def f2pnet(folder: Path) -> None:
    lists: dict[str, dict[str, dict[str, object]]] = {"train": {}, "test": {}}
    for number, path in enumerate(pictures(folder / "images")):
        defective = number < 2
        write_mask(folder / f"masks/p{number}.png", (rect() * defective).astype(np.uint8) * 255)
        lists["train" if number % 2 else "test"][f"p{number}"] = {
            "image_path": f"./data/{folder.name}/images/{path.name}",
            "mask_path": f"./data/{folder.name}/masks/p{number}.png",
            "label": int(defective),
            "label_name": "scratch" if defective else "good",
            "object_name": folder.name,
        }
    for name, content in lists.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def coco(folder: Path) -> None:
    height, width = SIDE
    images = [
        {"id": number + 1, "file_name": path.name, "width": width, "height": height}
        for number, path in enumerate(pictures(folder / "images"))
    ]
    flat = [value for point in outline() for value in point]
    shapes = [
        {"id": number, "image_id": number, "category_id": 3, "segmentation": [flat], "iscrowd": 0, "bbox": [6, 4, 6, 5]}
        for number in (1, 2)
    ]
    (folder / "labels.json").write_text(
        json.dumps({"images": images, "annotations": shapes, "categories": [{"id": 3, "name": "scratch"}]})
    )


ALL = {
    "plain": plain,
    "yolo": yolo,
    "voc": voc,
    "labelme": labelme,
    "cvat": cvat,
    "label-studio": label_studio,
    "f2pnet": f2pnet,
    "coco": coco,
}
