"""Write a data directory whose `tasks.json` declares tasks of every kind, with single sentences and pairs."""

import json
from pathlib import Path
from typing import Any

USER_TASKS: dict[str, tuple[str, float, float, int]] = {
    "stars": ("classification", 1, 3, 1),
    "nli": ("classification", 0, 2, 2),
    "spam": ("binary", 0, 1, 1),
    "same": ("binary", 0, 1, 2),
    "mood": ("regression", -1, 1, 1),
    "near": ("regression", 0, 10, 2),
}
"""Task -> kind, smallest label, largest label, number of sides in a row."""
ROWS = {"train": 12, "dev": 10, "test": 4}


def declarations() -> dict[str, dict[str, Any]]:
    """Return the content of `tasks.json`."""
    return {
        name: {
            "kind": kind,
            "low": low,
            "high": high,
            "text_columns": [f"side{side}" for side in range(sides)],
            "label_column": "truth",
            "files": {split: f"{name}.{split}.tsv" for split in ROWS},
        }
        for name, (kind, low, high, sides) in USER_TASKS.items()
    }


def labels_of(name: str, count: int) -> list[float]:
    """Return `count` labels: the classes in turn, or in turn five values that divide the range into quarters."""
    kind, low, high, _ = USER_TASKS[name]
    values = [low + quarter * (high - low) / 4 for quarter in range(5)]
    return [values[row % 5] if kind == "regression" else low + row % int(high - low + 1) for row in range(count)]


def write_user_data(directory: Path, **changes: Any) -> Path:
    """Write the data directory, with some declarations changed; return its path."""
    directory.mkdir()
    (directory / "tasks.json").write_text(json.dumps(declarations() | changes))
    for name, (_, _, _, sides) in USER_TASKS.items():
        for split, count in ROWS.items():
            header = ["id", *(f"side{side}" for side in range(sides)), *(["truth"] if split != "test" else [])]
            lines = ["\t".join(header)]
            for row, label in enumerate(labels_of(name, count)):
                texts = [f"{name} {split} {'abcdef'[row % 6]} {row} {side}" for side in range(sides)]
                lines.append("\t".join([f"{split}{row}", *texts, *([str(label)] if split != "test" else [])]))
            (directory / f"{name}.{split}.tsv").write_text("\n".join(lines) + "\n")
    return directory
