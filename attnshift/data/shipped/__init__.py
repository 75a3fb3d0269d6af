"""The two sets that ship with attnshift, written for it."""

from __future__ import annotations

from pathlib import Path

CAPITALS = Path(__file__).with_name("capitals.json")
"""Conflict items: coherent contexts that give a country or region another capital."""

PROBES = Path(__file__).with_name("probes.jsonl")
"""Instruction examples whose context is needed (critical), is redundant with memory (non_critical), or is absent."""
