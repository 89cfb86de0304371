"""The score sheet: all figures of one model on one list of images."""
