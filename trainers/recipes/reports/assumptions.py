"""What the recipes assume where their reports are silent, ambiguous or wrong. A reproduction prints this per recipe."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

EARLIER_QUORA = 141_506
"""Training rows of the course's earlier edition of Quora, of reports 001 and 003. Report 002 has 283,010."""


@dataclass(frozen=True)
class Assumption:
    """A choice that a recipe makes where its report does not decide."""

    recipes: tuple[str, ...]
    """Patterns of the names of the recipes that make it."""
    text: str
    quora: int | None = None
    """Training rows of QQP for which the recipe's proportions were computed; None if none depend on them."""

    def holds_for(self, recipe: str) -> bool:
        """Return whether a recipe makes the choice; a member of a group makes those of its group."""
        return any(fnmatchcase(recipe.partition("/")[0], pattern) for pattern in self.recipes)


_ALL = ("r00?-*",)
_MLM_000, _SMART_001 = ("r000-*mlm*",), ("r001-*smart*",)
_SEPARATE_UPDATES = ("r001-*rrobin*", "r001-sts-linear", "r001-smart-lambda-*")

ASSUMPTIONS = (
    Assumption(_ALL, "AdamW is torch's with the course's epsilon 1e-6; the course's own form adds it elsewhere"),
    Assumption(
        _ALL,
        "Dropout is .1 in the encoder unless the report says that it set it; in reports 000, 001 and 004 it is .3 in "
        "the heads",
    ),
    Assumption(
        _ALL, "The second sentence of a concatenated pair has segment 1, as in pretraining; the course's code has 0"
    ),
    Assumption(_ALL, "Heads start from torch's default initial values, drawn from the seed; no report states its own"),
    Assumption(_ALL, "A round is judged on dev rows, and the best round counts, as in the reports"),
    Assumption(("r000-*",), "STS's sigmoid is scaled to 0 to 5: 5 sigmoid(x)"),
    Assumption(("r000-*",), "Linear with ReLU (QQP) is a hidden layer: a ReLU on the logit has no gradient below 0"),
    Assumption(("r000-*",), "Weight decay is 1e-6 as printed; the report probably means the optimiser's epsilon"),
    Assumption(
        ("r000-*smart", "r000-*smart-simcse", "r000-smart-lambda-*"),
        "SMART's epsilon is 1e-6, as in the text; the report's algorithm has 1e-5",
    ),
    Assumption(
        ("r000-triad*",), "PCGrad is used with cycle and smart round-robin; the report does not say with which rows"
    ),
    Assumption(
        (
            "r000-triad-cycle",
            "r000-triad-smart-rr",
            "r000-triad-mlm-cycle",
            "r000-triad-mlm-smart-rr",
            "r002-*surgery*",
        ),
        "PCGrad sums the tasks' gradients, on shared parameters; the library that the report used averages them there, "
        "and projects with the heads' entries in the norms",
    ),
    Assumption(
        _MLM_000, "Further pretraining takes BERT's masks, one epoch, 2e-5, batches of 16 and the encoder's length"
    ),
    Assumption(("r000-triad-mlm*",), "One stage pretrains on both text sets; the report has an encoder for each"),
    Assumption(
        ("r000-*simcse",), "SimCSE is unsupervised, with the learning rate, batches and temperature of its paper"
    ),
    Assumption(("r001-*",), "The cosine is scaled to the labels as 5 (c + 1) / 2"),
    Assumption(_SMART_001, "Rows named smart have Bregman, too; the report does not say which rows have it"),
    Assumption(
        _SEPARATE_UPDATES,
        "The tasks take turns in the order of the tables, with an optimiser step each; an epoch has one more step than "
        "the report's 94 at batches of 64 (95), because the last, smaller batch of STS counts",
    ),
    Assumption(
        ("r001-rrobin-pre-smart",),
        "'Most of QQP' is taken as 70 % of its rows in each epoch; the share is computed from the report's seconds per "
        "epoch",
        EARLIER_QUORA,
    ),
    Assumption(
        ("r001-rrobin-full*",),
        "Batches are the printed 64/3/2 (QQP, SST, STS), and 16/1/1 with SMART; an epoch is a pass over QQP",
        EARLIER_QUORA,
    ),
    Assumption(("r001-*rlayer",), "The relational layer reads [u; v; |u - v|; r], 4 D to D"),
    Assumption(("r002-cos-sim",), "The cosine is scaled to the labels as 5 (c + 1) / 2"),
    Assumption(("r002-*",), "STS is a regression, although the report calls it a classification; Bregman is off"),
    Assumption(
        ("r002-*smart*", "r002-sst-lambda-*"),
        "SMART's other constants are those of its paper; the report gives lambda only",
    ),
    Assumption(
        ("r002-baseline", "r002-cos-sim", "r002-concat", "r002-concat-smart"),
        "QQP is trained for two epochs; the report says one to two",
    ),
    Assumption(("r002-ensemble",), "The members are the five best rows of the grid; the report does not name them"),
    Assumption(
        ("r003-*",),
        "Every epoch of the joint stage has the same 1,424 iterations (a pass over SST in batches of 6), with "
        "separate steps; the report gives neither",
    ),
    Assumption(("r003-*",), "Linear followed by ReLU is a hidden layer: a ReLU on the logits has no gradient below 0"),
    Assumption(
        ("r003-*mlm*",),
        "The MLM head is BERT's: dense layer, GELU, norm, and the word table; the report's is one new linear layer. "
        "All texts of the tasks are used, each sentence by itself",
    ),
    Assumption(
        ("r003-*bregman*",), "Bregman's teacher is a moving average, on SST only; as printed it would do nothing"
    ),
    Assumption(("r003-*cosine*",), "The cosine is scaled to the labels as 5 (c + 1) / 2"),
    Assumption(
        ("r003-quora-first",),
        "The Quora stage has 16,376 steps of 40 rows, from the printed seconds: 1.15 times the joint iterations",
    ),
    Assumption(("r003-smart-all",), "SMART has lambda 2, the selected one; the report may have used 1"),
    Assumption(
        ("r004-*",),
        "SST is a classification with cross-entropy and STS a regression with the squared error; the report prints a "
        "regression for SST and five classes for STS, which contradicts its own STS outputs",
    ),
    Assumption(
        ("r004-*smart*",), "SMART has the constants of its paper and lambda 1, on all tasks, in the Quora stage, too"
    ),
    Assumption(("r004-*vaccine*",), "GradVac follows its paper; the printed formula misses its target cosine"),
    Assumption(
        ("r004-*hlh",), "The heads of pairs have two hidden layers, as in the method section; the results mention one"
    ),
    Assumption(
        ("r004-sst-only", "r004-sequential", "r004-individual", "r004-*-rr"),
        "Separate sentences are combined as [u; v]",
    ),
    Assumption(
        ("r004-sst-only", "r004-individual"),
        "Batches have 16 rows, the learning rate is 1e-5; the report gives neither",
    ),
    Assumption(("r004-individual",), "The individual pretraining is left out, because the report does not describe it"),
    Assumption(("r004-sequential",), "It has five epochs, as in the results; the table of configurations says ten"),
)


def assumptions(recipe: str) -> list[Assumption]:
    """Return what a recipe assumes, by the recipe's name; our own recipes assume nothing."""
    return [assumption for assumption in ASSUMPTIONS if assumption.holds_for(recipe)]
