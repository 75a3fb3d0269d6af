"""Run directories of any content: a run and what is told of it, or one clear error; nothing is written there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzzing import ODD_JSON, TEXT, as_json, broken, fuzz, json_values, result_or_error
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from attnshift.checkpoints.checkpoint import read_checkpoint
from attnshift.checkpoints.manifest import read_manifest
from attnshift.checkpoints.optimizer import read_second_moments
from attnshift.checkpoints.run import find_run, trained_tensors
from attnshift.checkpoints.tokenizer import load_tokenizer, tokenizer_dir
from attnshift.checkpoints.trainer_state import read_trainer_state
from attnshift.checkpoints.window import window_of
from attnshift.console.run import run_facts, run_text
from attnshift.models.skeleton import Skeleton
from attnshift.tracing.job import prepare

FOLDERS = st.sampled_from(
    ["checkpoint-1", "checkpoint-2", "checkpoint-02", "step_3", "global_step4", "iter_0000005", "epoch_1",
     "final", "base", "best", "trace", ".cache", "checkpoint-", "checkpoint--3", "step٣",
     "checkpoint-" + "9" * 60, "hf", "", "a b", "é"]
)  # fmt: skip
FILES = st.sampled_from(
    ["config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
     "pytorch_model.bin.index.json", "adapter_config.json", "adapter_model.safetensors",
     "adapter_model.bin", "model-00001-of-00002.safetensors", "trainer_state.json", "tokenizer.json",
     "tokenizer_config.json", "attnshift.json", "zero_to_fp32.py", "latest",
     "zero_pp_rank_0_mp_rank_00_model_states.pt", "__0_0.distcp", ".metadata", "lit_model.pth",
     "optimizer.pt", "training_args.bin", "params.json", "consolidated.00.pth", "metadata.json",
     "ft-model-00001-of-00001.safetensors"]
)  # fmt: skip
KEYS = st.sampled_from(
    ["weight_map", "w", "metadata", "total_size", "base_model_name_or_path", "r", "target_modules",
     "peft_type", "model_type", "max_position_embeddings", "text_config", "global_step", "epoch",
     "log_history", "step", "best_model_checkpoint", "base", "conflicts", "ift", "template", "shares",
     "learning_rate", "trained", "max_new_tokens", "target_eos", "seed", "arm"]
)  # fmt: skip
NAMES = FILES | st.sampled_from(["../x", "/etc/passwd", ".", "..", "base", "checkpoint-1", "data.json", "plain"]) | TEXT
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
WEIGHTS = [
    save({"w": torch.ones(2, 3), "lm_head.weight": torch.zeros(2)}),
    save({"w": torch.full((2, 3), 2.0)}),
    save({"w": torch.tensor([float("nan")]), "empty": torch.zeros(0, 3)}),
    save({}),
    save({"model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 2)}),
]
CONTENTS = (
    st.sampled_from(WEIGHTS)
    | st.sampled_from(WEIGHTS).flatmap(broken)
    | st.dictionaries(KEYS, VALUES, max_size=6).map(lambda value: as_json(value).encode())
    | ODD_JSON.map(str.encode)
    | st.binary(max_size=20)
)
PLACES = st.tuples(FOLDERS, FILES)
ENTRIES = st.dictionaries(PLACES, CONTENTS | st.sampled_from(["folder", "link"]), min_size=1, max_size=14)


def written(content: Any) -> bytes:
    return (content if isinstance(content, str) else as_json(content)).encode("utf-8", "surrogatepass")


def build(root: Path, entries: dict[tuple[str, str], Any]) -> Path:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for (folder, file), content in entries.items():
        at = root / folder
        at.mkdir(exist_ok=True)
        if content == "folder":
            (at / file).mkdir()
        elif content == "link":
            (at / file).symlink_to("../checkpoint-1/config.json")
        else:
            (at / file).write_bytes(content)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(autouse=True)
def _no_hub(folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def told(root: Path, base: str | None) -> None:
    run = result_or_error(find_run, root, base)
    if run is None:
        return
    assert run.checkpoints
    assert list(run.fingerprints) == list(run.digests)
    assert [c.step for c in run.checkpoints] == sorted(c.step for c in run.checkpoints)
    json.dumps(run_facts(run))
    run_text(run_facts(run))
    result_or_error(trained_tensors, run)
    result_or_error(tokenizer_dir, run)
    result_or_error(window_of, [checkpoint.path for checkpoint in run.checkpoints])


@fuzz(80)
@given(ENTRIES, st.none() | NAMES.filter(lambda name: not name.startswith("/")))
def test_any_tree_of_plausible_names(folder, entries, base):
    root = build(folder / "run", entries)
    told(root, base)
    for inner in root.iterdir():
        result_or_error(read_checkpoint, inner, 1)
        told(inner, None)
    told(root, str(root))


@fuzz(60)
@given(st.dictionaries(KEYS, VALUES, max_size=8) | VALUES | ODD_JSON)
def test_any_manifest(folder, content):
    root = build(folder / "manifest", {("", "config.json"): b"{}", ("", "model.safetensors"): WEIGHTS[0]})
    (root / "attnshift.json").write_bytes(written(content))
    manifest = result_or_error(read_manifest, root)
    if manifest is not None:
        for path in (*manifest.conflicts, *manifest.ift):
            assert path.is_relative_to(root)
    told(root, None)


@fuzz(60)
@given(json_values(KEYS) | ODD_JSON)
def test_any_trainer_state(folder, content):
    folder = build(folder / "state", {("", "x"): b""})
    (folder / "trainer_state.json").write_bytes(written(content))
    state = read_trainer_state(folder)
    assert state.step is None or state.step >= 0


OPTIMIZER = ["state", "param_groups", "params", "exp_avg_sq", "step", "betas", "eps", "param_names", 0, 1, "w"]
TENSORS = st.sampled_from([torch.ones(2), torch.ones(2, 3), torch.tensor(1), torch.zeros(0), torch.eye(2).to_sparse()])
STATES = st.recursive(
    TENSORS | st.none() | st.integers(-1, 2) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(OPTIMIZER), inner, max_size=5),
    max_leaves=12,
)
NUMBERED = st.lists(st.integers(0, 2), max_size=2)
GROUPS = st.fixed_dictionaries({"params": NUMBERED | STATES, "betas": st.just((0.9, 0.99)) | STATES})
WHOLE = st.fixed_dictionaries(
    {"state": st.dictionaries(st.integers(0, 2), STATES) | STATES, "param_groups": st.lists(GROUPS, max_size=2)}
)


@fuzz(60)
@given(STATES | WHOLE, st.sets(st.sampled_from(["w", "v"])))
def test_any_optimizer(folder, state, trained):
    torch.save(state, folder / "optimizer.pt")
    shapes = {"w": torch.Size([2]), "v": torch.Size([2, 3])}
    result_or_error(read_second_moments, folder, shapes, sorted(trained), [])


# A real run, a part of whose files is changed


@pytest.fixture(scope="module")
def real(made, folder) -> Path:
    return Path(shutil.copytree(made("llama"), folder / "real"))


def changed(file: Path, content: bytes, check: Callable[[], None]) -> None:
    whole = file.read_bytes()
    try:
        file.write_bytes(content)
        check()
    finally:
        file.write_bytes(whole)


def traceable(root: Path) -> None:
    """Whatever the files say, a job is prepared and a checkpoint loaded, or it is told why not."""
    import attnshift

    series = result_or_error(attnshift.open_series, root)
    if series is None:
        return
    job = result_or_error(prepare, series, limit=2, measures=["margin"], out=root.parent / "t")
    skeleton = Skeleton(series.run, None, torch.device("cpu"))
    result_or_error(skeleton.load, series.run.checkpoints[0])
    if job is not None:
        assert job.inputs.items


CONFIG = ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "max_position_embeddings",
     "model_type", "architectures", "rope_parameters", "torch_dtype", "dtype", "hidden_act",
     "intermediate_size", "head_dim", "num_key_value_heads", "tie_word_embeddings", "quantization_config",
     "text_config", "rms_norm_eps", "layer_types", "attn_implementation", "pad_token_id", "id2label",
     "use_cache", "transformers_version", "auto_map"]  # fmt: skip
LOADED = ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json", "model.safetensors"]
ODD_VALUES = st.none() | st.booleans() | st.integers(-2, 2000) | st.floats() | st.sampled_from(
    ["llama", "gpt2", "evil", "float16", "torch.float99", "silu", "x", {}, [], {"quant_method": "bitsandbytes"},
     {"quant_method": "x"}, {"rope_type": "x"}, ["full_attention"], [1]]
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@fuzz(15)
@given(st.dictionaries(st.sampled_from(CONFIG), ODD_VALUES, min_size=1, max_size=3))
def test_any_configuration_of_a_model(real, content):
    file = real / "checkpoint-2" / "config.json"
    changed(file, as_json(json.loads(file.read_text()) | content).encode(), lambda: traceable(real))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@fuzz(15)
@given(
    st.sampled_from(
        ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json", "model.safetensors"]
    ),
    st.data(),
)
def test_damage_to_a_files_bytes(real, name, data):
    file = real / "checkpoint-4" / name
    changed(file, data.draw(broken(file.read_bytes())), lambda: traceable(real))


SAID = ["tokenizer_class", "bos_token", "eos_token", "chat_template", "model_max_length",
     "added_tokens_decoder", "extra_special_tokens", "padding_side", "auto_map",
     "clean_up_tokenization_spaces", "backend"]  # fmt: skip
TOKENIZER = ["model", "vocab", "merges", "type", "normalizer", "pre_tokenizer", "post_processor", "decoder",
     "added_tokens", "truncation", "padding", "version", "unk_token", "content", "id"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@fuzz(15)
@given(
    st.dictionaries(st.sampled_from(TOKENIZER), json_values(st.sampled_from(TOKENIZER), 6), max_size=3),
    st.dictionaries(
        st.sampled_from(SAID),
        json_values(st.sampled_from(["content", "special", "0", "1", "__type"]), 6) | st.just("LlamaTokenizer"),
        max_size=3,
    ),
)  # fmt: skip
def test_any_description_of_a_tokenizer(real, content, config):
    folder = real / "checkpoint-4"
    for file, more in ((folder / "tokenizer.json", content), (folder / "tokenizer_config.json", config)):
        value = json.loads(file.read_text()) | more

        def loads() -> None:
            tokenizer = result_or_error(load_tokenizer, folder)
            if tokenizer is not None:
                traceable(real)

        changed(file, as_json(value).encode(), loads)
