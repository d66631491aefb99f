"""Bregman proximal point optimisation: keep each step's predictions near the predictions of a slowly moving teacher."""

from pydantic import Field

from trainers.settings import Config, Weight

EARLY = 0.1
"""Share of a stage's steps, at its start, in which the teacher moves with `early_beta`."""


class BregmanConfig(Config):
    """Settings of the proximal term and of the momentum of its teacher."""

    mu: Weight = Field(default=0.0, description="Weight of the proximal term; 0 turns the term off.")
    beta: float = Field(default=0.999, ge=0, lt=1, description="Momentum: the share of the teacher kept at each step.")
    early_beta: float = Field(default=0.99, ge=0, lt=1, description="Momentum in the first tenth of a stage's steps.")

    @property
    def active(self) -> bool:
        """Whether any task has a weight above 0."""
        return any(self.mu.values()) if isinstance(self.mu, dict) else self.mu > 0


def teacher_share(bregman: BregmanConfig, done: int, steps: int) -> float:
    """Return the share of the distance by which the teacher moves towards the model after a step.

    Reports 003 and 004 print the method without momentum, so the teacher is the model before the step. Then the term
    does nothing: a step starts where model and teacher are equal, and there the term and its gradient are 0.

    Args:
        done: steps of the stage before this step.
        steps: all steps of the stage.

    Source: Jiang et al. 2020 (SMART), section 3.2 and appendix.
    """
    return 1 - (bregman.early_beta if done < EARLY * steps else bregman.beta)
