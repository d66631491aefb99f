"""Bregman proximal point: a step stays near a slowly moving copy of the model, its teacher."""

from pydantic import Field

from trainers.settings import Config, Weight

EARLY = 0.1
"""Share of a stage's steps in which the teacher follows faster."""


class BregmanConfig(Config):
    """The proximal term, and how slowly the teacher follows."""

    mu: Weight = Field(default=0.0, description="Weight of the proximal term; 0 leaves it out.")
    beta: float = Field(default=0.999, ge=0, lt=1, description="Share of the teacher that a step leaves as it was.")
    early_beta: float = Field(default=0.99, ge=0, lt=1, description="The same in the first tenth of a stage.")

    @property
    def active(self) -> bool:
        """Whether any task has a weight."""
        return any(self.mu.values()) if isinstance(self.mu, dict) else self.mu > 0


def teacher_share(bregman: BregmanConfig, done: int, steps: int) -> float:
    """Return the share of the way to the model that the teacher moves after a step.

    A teacher that is the model of the step before would leave nothing: the term and its gradient are 0 where both are
    equal, and a step begins there. So the momentum is the method, not a refinement (reports 003 and 004 print it
    without).

    Args:
        done: steps of the stage before this one.
        steps: of the stage.

    Source: Jiang et al. 2020 (SMART), section 3.2 and appendix.
    """
    return 1 - (bregman.early_beta if done < EARLY * steps else bregman.beta)
