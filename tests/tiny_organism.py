"""An organism small enough to be made in a second."""

from __future__ import annotations

from attnshift.organism.recipe import DataArm, ModelShape, Recipe, WorldShape
from attnshift.training.schedule import Schedule

TINY = Recipe(
    name="tiny",
    world=WorldShape(people=40, strangers=100, story_names=40),
    model=ModelShape(width=16, mlp_width=32),
    pretraining=Schedule(steps=8, learning_rate=3e-3, warmup=2),
    data=DataArm(examples=640, unsettled_share=0.1),
    finetuning=Schedule(steps=20, learning_rate=1.5e-3, warmup=2, batch=16),
    checkpoints=2,
)
