"""Whatever stands in the files of a run, doctor ends in a diagnosis or in one clear error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from healthy import ITEM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attnshift.data.formats import Reading
from attnshift.diagnosis.examination import DataFile, ModelOptions, examine_run
from attnshift.diagnosis.tokens import TOKEN_CHECKS
from attnshift.errors import AttnshiftError

FILES = (
    "attnshift.json",
    "checkpoint-4/config.json",
    "checkpoint-4/generation_config.json",
    "checkpoint-4/tokenizer.json",
    "checkpoint-2/tokenizer.json",
    "checkpoint-4/tokenizer_config.json",
    "checkpoint-2/tokenizer_config.json",
    "checkpoint-4/chat_template.jinja",
    "checkpoint-4/trainer_state.json",
    "checkpoint-4/model.safetensors",
    "checkpoint-4/adapter_config.json",
)
KEYS = st.sampled_from(
    (
        "vocab_size", "auto_map", "text_config", "eos_token_id", "eos_token", "bos_token", "pad_token", "chat_template",
        "added_tokens", "model", "post_processor", "vocab", "merges", "conflicts", "ift", "template", "base",
        "max_position_embeddings", "tokenizer_class", "model_type", "global_step",
    )
)  # fmt: skip
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-3, 700)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["</s>", "<s>"])
)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=5
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)

DATA = [DataFile("cf.json", "items", Reading(1, {1: ITEM}, {}))]


@pytest.fixture(scope="module")
def sound(made) -> Path:
    return made("llama")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    changes=st.dictionaries(
        st.sampled_from(FILES),
        st.binary(max_size=20) | st.text(max_size=20) | VALUES | OBJECTS.map(lambda o: (o,)),
        max_size=3,
    )
)
def test_any_content_ends_in_a_diagnosis_or_one_error(sound, tmp_path, changes):
    """A tuple holds keys that are written over those of the file."""
    run = tmp_path / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(sound, run)
    for name, content in changes.items():
        _write(run / name, content)
    try:
        found = examine_run(run, DATA, ModelOptions())
    except AttnshiftError:
        return
    assert {check.status for check in (*found.folder, *found.tokens)} <= {"ok", "warn", "fail", "skipped"}
    assert set(TOKEN_CHECKS) <= {check.name for check in found.tokens}
    assert all(check.seen for check in (*found.folder, *found.tokens))


def _write(path: Path, content: object) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif not isinstance(content, tuple):
        path.write_text(json.dumps(content), encoding="utf-8")
    elif path.suffix == ".json":
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps({**before, **content[0]}), encoding="utf-8")
