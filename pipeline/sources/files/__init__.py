"""Folders of images as cameras."""
