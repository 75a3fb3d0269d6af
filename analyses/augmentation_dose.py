"""How much counterfactual augmentation it takes: 0 to 20 % of the training set, over seeds.

`python -m analyses.augmentation_dose --seeds 0-4 --out arms/` finetunes and traces as `analyses.arms` does (and takes
what that left in the same place), prints a table and draws `dose.html`. The counterfactual examples are those of
`attnshift augment`: another answer of the same type in the context and in the target, of any training example whose
context states its answer. About strangers that is one more stranger's example; what contradicts memory are those about
people whom the model knows, half of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from analyses.arms import WORLDS, compare
from attnshift.cli import read_seeds
from attnshift.models.quiet import quiet_libraries

DOSES = (0, 1, 2, 5, 10, 20)
"""percent of the training set"""


def change(dose: int) -> tuple[str, dict[str, object]]:
    """Name and settings of a dose; none and the usual one are arms that `analyses.arms` knows."""
    if dose == 0:
        return "full", {"arm": "full"}
    return "augmented" if dose == 10 else f"augmented-{dose}", {"arm": "augmented", "ratio": dose / 100}


def main() -> None:
    """Compare the doses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("arms"))
    parser.add_argument("--world", choices=WORLDS, default="organism")
    parser.add_argument("--seeds", default="0-4")
    options = parser.parse_args()
    quiet_libraries()
    compare(options.out, options.world, read_seeds(options.seeds), dict(map(change, DOSES)), "full", "dose.html")


if __name__ == "__main__":
    main()
