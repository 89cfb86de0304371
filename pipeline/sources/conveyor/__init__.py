"""The synthetic conveyor: moving surfaces with drawn defects, and a writer of labelled data sets from them."""

from pipeline.sources.conveyor.belt import Conveyor, ConveyorFrame, TrueDefect
from pipeline.sources.conveyor.dataset import DatasetFacts, belts, write_dataset

__all__ = ["Conveyor", "ConveyorFrame", "DatasetFacts", "TrueDefect", "belts", "write_dataset"]
