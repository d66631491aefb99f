"""The names that options accept, copied from registries whose modules take seconds to import.

`tests/search/test_choices.py` checks that each list names exactly the entries of its registry.
"""

from collections.abc import Collection

SAMPLERS = ("tpe", "gp", "cmaes", "random")
TRIAL_SCHEDULERS = ("asha", "hyperband", "population", "none")
PRECISIONS = ("float32", "bfloat16")
OBJECTIVES = ("score", "ensemble", "seconds", "parameters")
STRATEGIES = ("caruana", "greedy", "greedy_median", "vote", "vote_median", "soft_vote", "uniform", "single")
SOUPS = ("none", "uniform", "greedy")
DEFAULT_STRATEGY = "caruana"
"""Better than the reports' greedy rule by .006 and .007 on unseen rows, among the rounds of 72 and 160
trials, and by .020 cross-fitted among the 160; it selects about twice as many models."""
DEFAULT_SOUP = "none"
"""A greedy soup needs tens of passes over the dev rows, and gained nothing among 72 trials."""


def listed(names: Collection[str]) -> str:
    """Return names as a help text lists them."""
    *most, last = names
    return f"{', '.join(most)} or {last}"
