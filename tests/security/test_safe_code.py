"""Code that comes with a model, a tokenizer or an adapter is never run, nor fetched by the name that a file gives."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from audit import network, recorded
from command_line import is_one_block

import attnshift

CANARY = "code-ran"
CHEAP = ("--measures", "margin", "--max-new-tokens", 1, "--limit", 2)
IDS = torch.arange(3, 20)[None]


@pytest.fixture
def copied(made, tmp_path) -> Path:
    """A run with its base in it, and a program that leaves a canary in every folder under likely names."""
    original = made("llama")
    run = Path(shutil.copytree(original, tmp_path / "run"))
    shutil.copytree(original.parent / "base", run / "base")
    for folder in (run, *run.iterdir()):
        if folder.is_dir():
            for name in ("modeling_evil.py", "configuration_evil.py", "tokenization_evil.py", "evil.py"):
                (folder / name).write_text(f"open({str(tmp_path / CANARY)!r}, 'w')\nclass Evil: pass\n")
            (folder / "custom_generate").mkdir()
            shutil.copy(folder / "evil.py", folder / "custom_generate" / "generate.py")
    return run


def change(run: Path, name: str, with_: Callable[[dict], dict]) -> None:
    for file in run.rglob(name):
        file.write_text(json.dumps(with_(json.loads(file.read_text()))))


def traced(command, run: Path, *words: object):
    with recorded() as events:
        done = command(
            "trace", "--ckpts", run, "--conflicts", conflicts(run), *CHEAP, "--out", run.parent / "t", *words
        )
    assert not network(events)
    assert not (run.parent / CANARY).exists()
    return done


def conflicts(run: Path) -> Path:
    from tiny import conflict_rows

    path = run.parent / "cf.json"
    path.write_text(json.dumps(conflict_rows()))
    return path


MAPPED = {
    "AutoConfig": "configuration_evil.Evil",
    "AutoModelForCausalLM": "modeling_evil.Evil",
    "AutoModel": "someone/evil--modeling_evil.Evil",
    "AutoTokenizer": ["tokenization_evil.Evil", "tokenization_evil.Evil"],
}


def test_a_known_model_is_built_by_transformers_own_code(command, copied):
    change(copied, "config.json", lambda c: c | {"auto_map": MAPPED, "trust_remote_code": True})
    change(copied, "generation_config.json", lambda c: c | {"custom_generate": "someone/evil"})
    change(copied, "tokenizer_config.json", lambda c: c | {"auto_map": MAPPED, "trust_remote_code": True})
    done = traced(command, copied)
    assert done.code == 0, done.err
    assert attnshift.open_trace(copied.parent / "t").sizes["step"] == 3


def test_a_model_that_needs_its_code_is_refused(command, copied):
    change(copied, "config.json", lambda c: c | {"auto_map": MAPPED, "model_type": "evil", "architectures": ["Evil"]})
    done = traced(command, copied)
    assert done.code in (1, 2)
    assert "can't be loaded" in done.err
    assert "without remote code" in done.err
    assert "Traceback" not in done.err


def test_a_tokenizer_that_needs_its_code_is_refused(command, copied):
    change(copied, "tokenizer_config.json", lambda c: c | {"auto_map": MAPPED, "tokenizer_class": "Evil"})
    assert is_one_block(traced(command, copied), "tokenizer", "can't be loaded")


@pytest.mark.parametrize(
    "asked",
    [
        {"attn_implementation": "someone/kernel"},
        {"_attn_implementation": "kernels-community/flash-attn2"},
        {"attn_implementation": "paged|someone/kernel:evil"},
        {"attn_implementation": "flash_attention_2"},
        {"_attn_implementation_internal": "someone/kernel"},
        {"experts_implementation": "someone/kernel"},
        {"use_kernels": True, "kernel_config": {"RMSNorm": "someone/kernel:evil"}},
    ],
)
def test_attention_from_the_hub_is_never_asked_for(copied, monkeypatch, asked):
    """transformers would fetch such a kernel and run it."""
    fetched = []
    monkeypatch.setattr("transformers.modeling_utils.lazy_import_flash_attention", lambda *a, **_: fetched.append(a))
    expected = attnshift.open_series(copied)[2].model()(IDS).logits
    change(copied, "config.json", lambda c: c | asked)
    with recorded() as events:
        model = attnshift.open_series(copied)[2].model()
    assert model.config._attn_implementation in ("sdpa", "eager")
    assert torch.equal(model(IDS).logits, expected)
    assert not fetched
    assert not network(events)


def test_an_adapter_names_no_module(command, made, tmp_path, monkeypatch):
    original = made("llama", lora=True)
    run = Path(shutil.copytree(original, tmp_path / "run"))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / CANARY)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    named = {
        "megatron_config": {"hidden_size": 32},
        "megatron_core": "evil",
        "auto_mapping": {"base_model_class": "Evil", "parent_library": "evil"},
    }
    change(run, "adapter_config.json", lambda c: c | named)
    done = traced(command, run, "--base", original.parent / "base")
    assert "Traceback" not in done.err
    assert "evil" not in sys.modules


def test_an_adapter_beside_merged_weights_is_neither_read_nor_applied(made, tmp_path):
    """transformers would apply it to the weights that hold it already."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    original = made("llama", lora=True)
    run, base = Path(shutil.copytree(original, tmp_path / "run")), original.parent / "base"
    expected = {}
    for checkpoint in run.glob("checkpoint-*"):
        adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), checkpoint).merge_and_unload()
        expected[int(checkpoint.name[11:])] = adapted(IDS).logits
        adapted.save_pretrained(checkpoint)
    series = attnshift.open_series(run, base=str(base))
    assert any("merged weights" in note for note in series.run.notes)
    for step, logits in expected.items():
        model = series[step].model()
        assert not [name for name, _ in model.named_parameters() if "lora" in name]
        assert torch.equal(model(IDS).logits, logits)
