"""Labelled data: the index of a folder, images and masks, what is wrong with them, few-shot lists."""
