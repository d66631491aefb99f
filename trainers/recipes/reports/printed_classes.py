"""Records of the reports' printed metrics of classes, which a reproduction is compared with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PrintedClass:
    """The printed metrics of one class, as shares of 1."""

    label: int
    name: str
    """Name of the class as printed."""
    precision: float
    recall: float
    f1: float | None = None
    """None if the report prints none."""


@dataclass(frozen=True)
class ClassTable:
    """The metrics that a report prints for each class of a task, on its dev rows."""

    report: str
    recipe: str
    """Name of the recipe whose model the report analyses."""
    task: str
    classes: tuple[PrintedClass, ...]
    note: str
    """What else the report prints about the classes."""


CLASS_TABLES = (
    ClassTable(
        *("001", "r001-rrobin-full-rlayer", "sst"),
        (
            PrintedClass(0, "negative", 0.57, 0.27, 0.36),
            PrintedClass(1, "somewhat negative", 0.51, 0.69, 0.58),
            PrintedClass(2, "neutral", 0.38, 0.20, 0.26),
            PrintedClass(3, "somewhat positive", 0.48, 0.79, 0.60),
            PrintedClass(4, "positive", 0.74, 0.30, 0.43),
        ),
        "of its dev rows 12.6, 26.2, 20.8, 25.3 and 14.9 % are in these classes",
    ),
    ClassTable(
        *("003", "r003-smart-sst-bregman", "sst"),
        (
            PrintedClass(0, "negative", 0.474, 0.324),
            PrintedClass(1, "somewhat negative", 0.548, 0.512),
            PrintedClass(2, "neutral", 0.397, 0.489),
            PrintedClass(3, "somewhat positive", 0.548, 0.487),
            PrintedClass(4, "positive", 0.500, 0.624),
        ),
        "70 to 93 % of its errors are in an adjacent class",
    ),
)
"""All tables of classes of the reports, each of one of its systems."""
