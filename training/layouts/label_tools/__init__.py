"""What label tools write: COCO, CVAT, Label Studio, LabelMe, Pascal VOC, YOLO."""
