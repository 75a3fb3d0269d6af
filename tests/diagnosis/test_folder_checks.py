"""Checks of a run's folder, its tokenizer and its template: each where it passes and where it doesn't."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from healthy import ITEM
from tiny import CHAT, bpe_tokenizer, data_texts

from attnshift.data.formats import Reading
from attnshift.diagnosis.check import Check
from attnshift.diagnosis.examination import DataFile, Examination, ModelOptions, examine_run
from attnshift.diagnosis.tokens import TOKEN_CHECKS
from attnshift.errors import AttnshiftError


@pytest.fixture
def run(made, tmp_path) -> Path:
    return Path(shutil.copytree(made("llama"), tmp_path / "run"))


@pytest.fixture
def lora(made, tmp_path) -> Path:
    return Path(shutil.copytree(made("llama", lora=True), tmp_path / "run"))


@pytest.fixture
def chat(made, tmp_path) -> Path:
    return Path(shutil.copytree(made("llama", chat=True), tmp_path / "chat"))


FILE = DataFile("cf.json", "items", Reading(1, {1: ITEM}, {}))


def examined(run: Path, *files: DataFile, base: str | None = None, template: str | None = None) -> Examination:
    """The run's own data take a while, where there are none."""
    return examine_run(run, files, ModelOptions(base=base, template=template))


def checks(run: Path, *, own_data: bool = False, **options: str) -> dict[str, Check]:
    found = examined(run, *([] if own_data else [FILE]), **options)
    return {check.name: check for check in (*found.folder, *found.tokens)}


def edit(file: Path, **changes: object) -> None:
    content = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in (content | changes).items() if v is not None}))


def everywhere(run: Path, name: str, **changes: object) -> None:
    for file in run.glob(f"checkpoint-*/{name}"):
        edit(file, **changes)


def test_a_sound_run(run, made):
    found = checks(run, base=str(made("llama").parent / "base"), template="alpaca")
    assert {c.name: c.status for c in found.values() if c.status != "ok"} == {"generation_prompt": "skipped"}
    assert "steps 0, 2, 4" in found["checkpoints"].seen
    assert "3 different digests" in found["weights"].seen
    assert "'<s>' (0) once" in found["bos"].seen
    assert found["target_end"].seen == "targets end with '</s>' (1)"
    assert "--template names it" in found["template"].seen


def test_its_data_are_those_that_ship(run):
    assert [(lint.name, lint.kind) for lint in examined(run).data] == [
        ("capitals.json (ships with attnshift)", "items"),
        ("probes.jsonl (ships with attnshift)", "examples"),
    ]


def test_no_base_and_no_template_are_warned_of(run):
    found = checks(run)
    assert found["base"].status == "warn"
    assert "--base" in found["base"].remedy
    assert found["template"].status == "warn"
    assert "plain" in found["template"].seen


def test_a_checkpoint_that_cannot_be_read(run):
    weights = run / "checkpoint-2" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    found = checks(run)["checkpoints"]
    assert found.status == "fail"
    assert "1 of 2 can't be read: step 2" in found.seen


def test_a_single_checkpoint_is_no_series(run):
    assert checks(run / "checkpoint-4")["checkpoints"].status == "warn"


def test_two_steps_with_the_same_weights(run):
    shutil.copytree(run / "checkpoint-4", run / "checkpoint-6")
    found = checks(run)["weights"]
    assert found.status == "fail"
    assert "steps 4 and 6 have identical weights" in found.seen
    assert "adapter that was never applied" in found.remedy


def test_an_alias_is_measured_once_and_is_no_fault(run):
    shutil.copytree(run / "checkpoint-4", run / "final")
    found = checks(run)
    assert found["aliases"].seen == "final/ is step 4: measured once"
    assert found["folders"].status == "ok"


def test_a_folder_that_is_left_out(run):
    shutil.copytree(run / "checkpoint-4", run / "best")
    edit(run / "best" / "config.json", hidden_act="silu")
    weights = run / "best" / "model.safetensors"
    shutil.copy(run.parent / "run" / "checkpoint-2" / "model.safetensors", weights)
    raw = bytearray(weights.read_bytes())
    raw[-4:] = b"\0\0\0\1"
    weights.write_bytes(bytes(raw))
    found = checks(run)["folders"]
    assert found.status == "warn"
    assert "best/ is left out" in found.seen


def test_an_adapter_whose_base_is_gone_is_a_failed_check_and_not_the_end(lora):
    for file in lora.glob("checkpoint-*/adapter_config.json"):
        edit(file, base_model_name_or_path="nobody/nothing")
    found = checks(lora)
    assert found["base"].status == "fail"
    assert "'nobody/nothing', which is not on disk" in found["base"].seen
    assert "--base" in found["base"].remedy
    assert found["configuration"].status == "skipped"
    assert found["size"].status == "skipped"
    assert found["checkpoints"].status == "ok"
    assert found["tokenizer"].status == "ok"
    assert found["vocabulary"].status == "skipped"
    assert found["bos"].status == "ok"


def test_an_adapter_with_its_base(lora):
    found = checks(lora)
    assert found["base"].status == "ok"
    assert "steps 0, 2, 4" in found["checkpoints"].seen
    assert found["vocabulary"].status == "ok"


@pytest.mark.parametrize(
    ("changes", "quoted"),
    [({"auto_map": {"AutoModel": "code.py"}}, "code of its own"), ({"num_hidden_layers": 3}, "different models")],
)
def test_a_configuration_that_cannot_be_used(run, changes, quoted):
    edit(run / "checkpoint-4" / "config.json", **changes)
    found = checks(run)["configuration"]
    assert found.status == "fail"
    assert quoted in found.seen
    assert "checkpoint-4" in found.seen


def test_weights_beyond_the_free_memory(run, monkeypatch):
    monkeypatch.setattr("attnshift.diagnosis.folder.free_host_bytes", lambda: 1000)
    assert checks(run)["size"].status == "warn"


def test_manifests(run):
    (run / "attnshift.json").write_text(json.dumps({"conflicts": "gone.json", "template": "plain", "arm": "full"}))
    found = checks(run)
    assert found["manifest"].status == "fail"
    assert "gone.json" in found["manifest"].seen
    assert "the manifest names it" in found["template"].seen
    (run / "gone.json").write_text("[1]")
    found = checks(run, own_data=True)
    assert found["manifest"].status == "ok"
    assert found["data"].status == "fail"
    (run / "attnshift.json").write_text("[]")
    found = checks(run)
    assert found["manifest"].status == "fail"
    assert found["checkpoints"].status == "ok"


def test_where_a_trace_would_go(run):
    (run / "trace").write_text("in the way")
    assert checks(run)["output"].status == "warn"


def test_a_run_that_cannot_be_written(run, monkeypatch):
    assert checks(run)["output"].status == "ok"
    monkeypatch.setattr("attnshift.diagnosis.folder.os.access", lambda path, mode: False)
    found = checks(run)["output"]
    assert found.status == "warn"
    assert "--out" in found.remedy


@pytest.mark.parametrize("made_of", ["nothing", "text", "foreign"])
def test_a_folder_without_checkpoints_is_bad_input(tmp_path, made_of):
    if made_of == "text":
        (tmp_path / "notes.txt").write_text("no run")
    if made_of == "foreign":
        (tmp_path / "global_step5").mkdir()
        (tmp_path / "global_step5" / "zero_pp_rank_0_mp_rank_00_optim_states.pt").write_text("")
    with pytest.raises(AttnshiftError):
        examined(tmp_path)


# tokenizer and template


def test_no_tokenizer_fails_once_and_skips_the_rest(run):
    for file in [*run.glob("checkpoint-*/tokenizer*"), *run.glob("checkpoint-*/chat_template*")]:
        file.unlink()
    found = checks(run)
    assert found["tokenizer"].status == "fail"
    assert "--tokenizer DIR" in found["tokenizer"].remedy
    assert {found[name].status for name in TOKEN_CHECKS} == {"skipped"}
    too_long = examined(run, FILE).data[0]["too_long"]
    assert too_long.status == "skipped"
    assert "can't be used" in too_long.seen


def test_a_template_that_is_none(run):
    (run / "attnshift.json").write_text(json.dumps({"template": "swallows.jinja"}))
    (run / "swallows.jinja").write_text("{{ question }} {{ answer }}")
    found = checks(run)
    assert found["template"].status == "fail"
    assert "swallows the context" in found["template"].seen
    assert found["bos"].status == "skipped"
    with pytest.raises(AttnshiftError, match="nowhere"):
        checks(run, template="nowhere.jinja")


def test_the_tokenizers_chat_template(chat):
    found = checks(chat)
    assert found["template"].status == "ok"
    assert "tokenizer's own" in found["template"].seen
    assert found["generation_prompt"].status == "ok"
    assert repr("<|assistant|>\n") in found["generation_prompt"].seen
    assert found["bos"].status == "warn"  # the tokenizer would add a second one to a rendered chat
    assert "two" in found["bos"].seen
    assert found["same_chat_template"].status == "ok"


def with_chat_template(run: Path, source: str) -> Path:
    for folder in run.glob("checkpoint-*"):
        (folder / "chat_template.jinja").write_text(source)
    return run


def test_generation_prompts_that_training_did_not_see(chat):
    thinking = CHAT.replace("{% endif %}", "<think>\n\n</think>\n{% endif %}")
    found = checks(with_chat_template(chat, thinking))["generation_prompt"]
    assert found.status == "warn"
    assert repr("<|assistant|>\n<think>\n\n</think>\n") in found.seen
    without = CHAT[: CHAT.index("{% if add_generation_prompt")]
    found = checks(with_chat_template(chat, without))["generation_prompt"]
    assert found.status == "warn"
    assert "has none" in found.seen


def test_a_chat_template_that_fails_when_it_is_asked(chat):
    failing = CHAT.replace("<|assistant|>\n{% endif %}", "{{ raise_exception('not today') }}{% endif %}")
    assert failing != CHAT
    found = checks(with_chat_template(chat, failing))
    assert found["generation_prompt"].status == "fail"
    assert "not today" in found["generation_prompt"].seen
    assert found["bos"].status == "warn"


def test_a_bos_that_is_written_twice_and_one_that_is_missing(run, chat):
    (run / "attnshift.json").write_text(json.dumps({"template": "double.jinja"}))
    (run / "double.jinja").write_text("<s>{{ context }} {{ question }}\n{{ answer }}")
    found = checks(run)["bos"]
    assert found.status == "fail"
    assert "2 times" in found.seen
    found = checks(with_chat_template(chat, CHAT.replace("{{ bos_token }}", "")))["bos"]
    assert found.status == "warn"
    assert "begin without '<s>' (0)" in found.seen


def test_a_tokenizer_without_bos(run):
    everywhere(run, "tokenizer.json", post_processor=None)
    everywhere(run, "tokenizer_config.json", bos_token=None)
    assert checks(run)["bos"].seen.startswith("the tokenizer has no BOS")


def test_ends(run):
    everywhere(run, "generation_config.json", eos_token_id=[7, 9])
    found = checks(run)
    assert found["eos"].status == "warn"
    assert "but generation ends at" in found["eos"].seen
    everywhere(run, "tokenizer_config.json", eos_token=None)
    everywhere(run, "special_tokens_map.json", eos_token=None)
    found = checks(run)
    assert found["eos"].status == "warn"
    assert "run on" in found["eos"].seen


def test_an_end_that_no_generation_stops_at(chat):
    found = checks(with_chat_template(chat, CHAT.replace("{{ eos_token }}", ".")))["target_end"]
    assert found.status == "warn"
    assert "targets end with '.'" in found.seen
    assert "'</s>' (1)" in found.seen


def test_padding(run):
    everywhere(run, "tokenizer_config.json", pad_token="</s>")
    found = checks(run)["pad"]
    assert found.status == "warn"
    assert "is EOS too" in found.seen
    everywhere(run, "tokenizer_config.json", pad_token=None)
    assert checks(run)["pad"].status == "ok"


def test_more_tokens_than_embeddings(run):
    everywhere(run, "config.json", vocab_size=2)
    found = checks(run)
    assert found["vocabulary"].status == "fail"
    assert found["pad"].status == "warn"
    assert "beyond the model's 2 embeddings" in found["pad"].seen


def test_one_tokenizer_for_all(run):
    assert checks(run)["same_tokenizer"].status == "ok"
    edit(run / "checkpoint-2" / "tokenizer.json", truncation={"max_length": 7, "strategy": "LongestFirst", "stride": 0})
    assert checks(run)["same_tokenizer"].status == "ok"  # that is how it was used
    model = json.loads((run / "checkpoint-2" / "tokenizer.json").read_text())["model"]
    older = model | {"merges": [" ".join(pair) for pair in model["merges"]]}
    edit(run / "checkpoint-2" / "tokenizer.json", model=older)
    assert checks(run)["same_tokenizer"].status == "ok"  # as older versions wrote the same
    edit(run / "checkpoint-2" / "tokenizer.json", post_processor=None)
    found = checks(run)["same_tokenizer"]
    assert found.status == "warn"
    assert "post_processor" in found.seen


def test_a_tokenizer_that_changes(run):
    bpe_tokenizer([text.upper() for text in data_texts()]).save_pretrained(run / "checkpoint-2")
    found = checks(run)["same_tokenizer"]
    assert found.status == "fail"
    assert "tokens have other ids, such as" in found.seen
    assert "checkpoint-2/" in found.seen
    (run / "checkpoint-2" / "tokenizer.json").write_text("{")
    assert checks(run)["same_tokenizer"].status == "fail"


def test_a_chat_template_that_changes(chat):
    (chat / "checkpoint-2" / "chat_template.jinja").write_text(CHAT + " ")
    found = checks(chat)["same_chat_template"]
    assert found.status == "warn"
    assert "checkpoint-2/" in found.seen


def test_a_base_that_cannot_be_read_is_one_checkpoint_less(run, made):
    base = Path(shutil.copytree(made("llama").parent / "base", run.parent / "base"))
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    found = checks(run, base=str(base))
    assert found["checkpoints"].status == "fail"
    assert "step 0" in found["checkpoints"].seen


def test_where_nothing_can_be_encoded_it_says_why(run):
    everywhere(run, "config.json", max_position_embeddings=3)
    found = checks(run)
    assert found["template"].status == "fail"
    assert "more than the model's window of 3" in found["template"].seen
    assert found["bos"].status == "skipped"


def test_revisions_of_a_model_on_the_hub(run, tmp_path, monkeypatch):
    repository = tmp_path / "cache" / "models--me--tiny"
    for number, step in enumerate((2, 4), 1):
        shutil.copytree(run / f"checkpoint-{step}", repository / "snapshots" / (commit := str(number) * 40))
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / f"step{step}").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    found = examine_run("me/tiny", [FILE], ModelOptions(revisions=["step2", "step4"]))
    told = {check.name: check for check in (*found.folder, *found.tokens)}
    assert "steps 2, 4" in told["checkpoints"].seen
    assert told["same_tokenizer"].seen == "the same tokenizer.json in step2/, step4/"
    assert told["output"].status == "warn"
    assert "me/tiny is on the hub" in told["output"].seen
