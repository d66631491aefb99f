"""Records of the reports' printed scores, which a reproduction is compared with."""

from dataclasses import dataclass
from typing import Literal

Split = Literal["dev", "test"]
Formula = Literal["plain", "overall", ""]


@dataclass(frozen=True)
class Row:
    """One printed row of scores: accuracies as shares of 1, and Pearson's r for STS; None for scores not printed."""

    report: str
    recipe: str
    """Name of the recipe; empty if the scores cannot belong to any system of the report."""
    table: str
    printed: str
    """Name of the row as printed."""
    split: Split
    sst: float | None
    qqp: float | None = None
    sts: float | None = None
    cfimdb: float | None = None
    average: float | None = None
    formula: Formula = ""
    """How `average` is computed: "plain" is the mean of the three scores, "overall" takes (r + 1) / 2 in place of r."""
    note: str = ""
    """An error or an open question in the printed row."""
    epoch_seconds: float | None = None
    """Printed training time of an epoch."""
    hours: float | None = None
    """Printed training time of all epochs."""
    cfimdb_recipe: str = ""
    """Name of the recipe of the CFIMDB score, if the row holds scores of two systems."""

    @property
    def recipes(self) -> tuple[str, ...]:
        """The names of all recipes with scores in the row."""
        return tuple(name for name in (self.recipe, self.cfimdb_recipe) if name)

    @property
    def time(self) -> str:
        """The printed training times as text; empty if the report prints none."""
        hours = [f"{self.hours:g} h"] if self.hours else []
        return ", ".join(hours + ([f"{self.epoch_seconds:g} s an epoch"] if self.epoch_seconds else []))


@dataclass(frozen=True)
class Table:
    """A table or plot of a report, or its rows whose averages have the same formula."""

    report: str
    name: str
    split: Split = "dev"
    formula: Formula = ""
    unit: float = 1
    """The printed number for a share of 1: 100 for per cent."""

    def row(
        self,
        recipe: str,
        printed: str,
        sst: float,
        qqp: float | None,
        sts: float,
        average: float | None = None,
        *,
        note: str = "",
        epoch_seconds: float | None = None,
        hours: float | None = None,
    ) -> Row:
        """Return one row of the table."""
        return Row(
            report=self.report,
            recipe=recipe,
            table=self.name,
            printed=printed,
            split=self.split,
            sst=self._share(sst),
            qqp=self._share(qqp),
            sts=self._share(sts),
            average=self._share(average),
            formula=self.formula,
            note=note,
            epoch_seconds=epoch_seconds,
            hours=hours,
        )

    def _share(self, printed: float | None) -> float | None:
        return None if printed is None else round(printed / self.unit, 6)
