"""Rows of rounds with made-up values, without training."""

from typing import Any

from trainers.training.rounds import RoundRow


def example_row(round: int = 1, **changes: Any) -> RoundRow:
    """Return the row of a judged round, with some fields changed."""
    values: dict[str, Any] = {
        "round": round,
        "judged": round,
        "last": False,
        "finite": True,
        "score": 0.5,
        "metrics": {},
        "losses": {},
        "loss": 1.0,
        "examples": 100 * round,
        "tokens": 1000 * round,
        "steps": round,
        "parameters": 1000,
        "train_seconds": 1.0,
        "eval_seconds": 0.1,
        "save_seconds": 0.1,
        "ended": "2026-01-02T03:04:05.000+00:00",
        "node": "here",
        "threads": 1,
    }
    return RoundRow(**values | changes)
