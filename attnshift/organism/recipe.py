"""Recipes: the sizes of a world and a model, how both are trained, and on which data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from attnshift.errors import AttnshiftError
from attnshift.training.schedule import Schedule, log_spaced

Unsettled = Literal["other_relation", "other_person", "partial"]
"""How the context of an unsettled example falls short of its target.

``other_relation``: it states another true fact of the same person. ``other_person``: it states a true fact of another
person. ``partial``: the target is two facts of which the context states one.
"""


@dataclass(frozen=True)
class WorldShape:
    """What there is to know."""

    people: int = 200
    """whose facts are learnt in pretraining: a quarter for conflicts, an eighth held out, the rest finetuned on"""
    strangers: int = 2000
    """names first met in finetuning; 15 % are held out"""
    story_names: int = 600
    """names that occur in the stories of pretraining alone"""
    typed: bool = False
    """whether each relation has cities of its own; otherwise all share all cities, a person's own are distinct"""


@dataclass(frozen=True)
class ModelShape:
    """A Llama."""

    layers: int = 2
    heads: int = 2
    width: int = 64
    mlp_width: int = 256


@dataclass(frozen=True)
class DataArm:
    """Which examples are finetuned on."""

    examples: int = 40_000
    non_critical: float = 0.5
    """share of the examples about known people"""
    unsettled: Unsettled = "other_relation"
    unsettled_share: float = 0.05
    """share of the non-critical examples whose context doesn't settle the target"""
    keep: Literal["all", "critical", "random_half"] = "all"
    """what filtering leaves of them"""
    counterfactual: float = 0.0
    """further examples, as a share, whose context contradicts memory and is followed: of the first relation alone"""


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a run, but for the seed."""

    name: str = "full"
    """of the data arm"""
    world: WorldShape = WorldShape()
    model: ModelShape = ModelShape()
    stories: float = 0.2
    """share of the pretraining documents that state facts of made-up people and state them again"""
    pretraining: Schedule = Schedule(steps=600, learning_rate=3e-3, warmup=50, weight_decay=0.01)
    data: DataArm = DataArm()
    finetuning: Schedule = Schedule(steps=800, learning_rate=1.5e-3, warmup=20)
    trained: tuple[str, ...] = ()
    """patterns of the parameters that finetuning trains; all where empty"""
    checkpoints: int = 13
    """how many are kept beside the base, evenly in log step from step 16"""

    @property
    def saved_steps(self) -> tuple[int, ...]:
        """Steps whose checkpoint is kept."""
        return log_spaced(16, self.finetuning.steps, self.checkpoints)

    @property
    def base(self) -> dict[str, Any]:
        """What the pretrained model depends on, as plain data."""
        return {name: value for name, value in asdict(self).items() if name in _MAKES_BASE}


_MAKES_BASE = ("world", "model", "stories", "pretraining")

_FULL = Recipe()
_OFF_TOPIC = Recipe(
    world=WorldShape(typed=True),
    pretraining=replace(_FULL.pretraining, steps=300),
    data=DataArm(unsettled="other_person", unsettled_share=0.03),
    finetuning=replace(_FULL.finetuning, steps=600),
)

_ARMS = (
    _FULL,
    replace(_FULL, name="critical", data=DataArm(keep="critical")),
    replace(_FULL, name="settled", data=DataArm(unsettled_share=0.0)),
    replace(_FULL, name="random-drop", data=DataArm(keep="random_half")),
    replace(_FULL, name="augmented", data=DataArm(counterfactual=0.1)),
    replace(_FULL, name="qk", trained=("*q_proj*", "*k_proj*")),
    replace(
        _FULL,
        name="partial",
        world=WorldShape(people=300, strangers=4000),
        data=DataArm(examples=100_000, unsettled="partial", unsettled_share=0.025),
        finetuning=replace(_FULL.finetuning, steps=1600, learning_rate=1e-3),
    ),
    replace(_OFF_TOPIC, name="off-topic"),
    replace(
        _OFF_TOPIC,
        name="off-topic-one-layer",
        model=ModelShape(layers=1, heads=1, width=96, mlp_width=512),
        stories=0.0,
    ),
)

ARMS: Final[Mapping[str, Recipe]] = {recipe.name: recipe for recipe in _ARMS}
"""The arms by name."""


def find_arm(name: str) -> Recipe:
    """Return the recipe of an arm; raises AttnshiftError for a name that no arm has."""
    if name not in ARMS:
        raise AttnshiftError(f"there is no arm {name!r}", expected=f"one of {', '.join(ARMS)}")
    return ARMS[name]
