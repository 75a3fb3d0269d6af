"""How far two labellings of the same texts agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """Two labellings of the same texts, counted by pairs of labels."""

    pairs: Mapping[tuple[str, str], int]
    """texts by (first label, second label)"""

    @property
    def count(self) -> int:
        """Texts that both labelled."""
        return sum(self.pairs.values())

    @property
    def percent(self) -> float:
        """Percent of the texts with the same label; NaN without any text."""
        same = sum(n for (a, b), n in self.pairs.items() if a == b)
        return 100 * same / self.count if self.count else float("nan")

    @property
    def kappa(self) -> float:
        """Cohen's kappa: (observed - expected) / (1 - expected) agreement (Cohen 1960, EPM 20:37).

        Expected is what two labellings with these margins would agree by chance. NaN where both give all texts the
        same label: then chance explains everything.
        """
        if not self.count:
            return float("nan")
        margins = [Counter[str](), Counter[str]()]
        for pair, n in self.pairs.items():
            for margin, label in zip(margins, pair, strict=True):
                margin[label] += n
        expected = sum(margins[0][label] * margins[1][label] for label in margins[0]) / self.count**2
        return (self.percent / 100 - expected) / (1 - expected) if expected < 1 else float("nan")


def agreement(first: Sequence[str], second: Sequence[str]) -> Agreement:
    """Compare two labellings, text by text."""
    return Agreement(Counter(zip(first, second, strict=True)))
