"""A conflict item without a defect."""

from __future__ import annotations

from attnshift.data.items import Item

ITEM = Item(
    id="a",
    context="In 2030 the seat was moved to Graz.",
    question="What is the capital of Hav?",
    context_answer="Graz",
    parametric_answer="Oran",
)
