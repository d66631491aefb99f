"""Rows of the reports' tables and figures, as printed: what a reproduction is set beside."""

from dataclasses import dataclass
from typing import Literal

Split = Literal["dev", "test"]
Formula = Literal["plain", "overall", ""]


@dataclass(frozen=True)
class Row:
    """Figures are shares of 1: accuracies, and Pearson's r for STS; None where the report prints none."""

    report: str
    recipe: str
    """The system; empty where the figures can be no system's of the report."""
    table: str
    printed: str
    """The row's name."""
    split: Split
    sst: float | None
    qqp: float | None = None
    sts: float | None = None
    cfimdb: float | None = None
    average: float | None = None
    formula: Formula = ""
    """Of the average: the mean of the three figures, or the course's overall score, with (r + 1) / 2 for r."""
    note: str = ""
    """What is wrong with the row, or open."""
    cfimdb_recipe: str = ""
    """The system of the CFIMDB figure, where the row holds figures of two."""

    @property
    def recipes(self) -> tuple[str, ...]:
        """The systems whose figures the row holds."""
        return tuple(name for name in (self.recipe, self.cfimdb_recipe) if name)


@dataclass(frozen=True)
class Table:
    """A table or figure, or those of its rows whose averages follow one formula."""

    report: str
    name: str
    split: Split = "dev"
    formula: Formula = ""
    unit: float = 1
    """What is printed for 1: 100 in per cent."""

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
        )

    def _share(self, figure: float | None) -> float | None:
        return None if figure is None else round(figure / self.unit, 6)
