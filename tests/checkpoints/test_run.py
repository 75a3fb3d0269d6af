import pickle
import shutil
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import adapter, full, state, trainer_state, write_json

from attnshift.checkpoints.layout import numbered_step
from attnshift.checkpoints.run import Run, find_run, trained_tensors
from attnshift.errors import AttnshiftError, CheckpointError


@pytest.fixture(autouse=True)
def _no_hub(tmp_path_factory, monkeypatch):
    """An empty cache, so that no name is found by accident, and no way out."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def steps(run: Run) -> list[int]:
    assert set(run.fingerprints) == {checkpoint.step for checkpoint in run.checkpoints}
    return [checkpoint.step for checkpoint in run.checkpoints]


def told(run: Run, *words: str) -> bool:
    return any(all(word in note for word in words) for note in run.notes)


# Numbered folders


def test_natural_order(tmp_path):
    for step in (1000, 20, 3):
        full(tmp_path / f"checkpoint-{step}", step)
    run = find_run(tmp_path)
    assert steps(run) == [3, 20, 1000]
    assert [checkpoint.name for checkpoint in run.checkpoints] == ["checkpoint-3", "checkpoint-20", "checkpoint-1000"]
    assert told(run, "no base", "--base")


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    named=st.dictionaries(
        st.integers(0, 10**12),
        st.tuples(
            st.sampled_from(["checkpoint", "global_step", "step", "iter", "Step", "CHECKPOINT"]),
            st.sampled_from(["", "-", "_"]),
            st.integers(0, 7),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_every_spelling_of_a_step(tmp_path_factory, named):
    root = tmp_path_factory.mktemp("run")
    for seed, (step, (word, mark, zeros)) in enumerate(named.items()):
        full(root / f"{word}{mark}{'0' * zeros}{step}", seed)
    assert steps(find_run(root)) == sorted(named)


@given(st.text("global_stepitrchkon-05٣", max_size=30))
def test_only_whole_names_state_a_step(name):
    step = numbered_step(name)
    assert step is None or name.lower().startswith(("checkpoint", "global_step", "step", "iter"))
    assert numbered_step(f"my-{name}") is None


@pytest.mark.parametrize(
    "name", ["checkpoint", "checkpoint-", "checkpoint-5-old", "checkpoint--5", "epoch_3", "step-٣"]
)
def test_names_that_state_no_step(name):
    assert numbered_step(name) is None


def test_two_folders_of_one_step(tmp_path):
    full(tmp_path / "checkpoint-5", 1)
    full(tmp_path / "step_0005", 2)
    with pytest.raises(AttnshiftError, match="checkpoint-5/ and step_0005/"):
        find_run(tmp_path)


def test_files_traces_and_hidden_folders_are_ignored(tmp_path):
    full(tmp_path / "checkpoint-5", 1)
    full(tmp_path / "trace", 2)
    full(tmp_path / ".cache", 3)
    (tmp_path / "checkpoint-9").write_text("a file")
    (tmp_path / "logs").mkdir()
    run = find_run(tmp_path)
    assert steps(run) == [5]
    assert len(run.notes) == 1


# Broken checkpoints


def test_broken_checkpoints_are_kept_apart(tmp_path):
    for step in (1, 2, 3, 4, 5):
        full(tmp_path / f"checkpoint-{step}", step)
    (tmp_path / "checkpoint-2/model.safetensors").write_bytes(b"")
    (tmp_path / "checkpoint-3/model.safetensors").unlink()
    shutil.rmtree(tmp_path / "checkpoint-4")
    (tmp_path / "checkpoint-4").mkdir()
    run = find_run(tmp_path)
    assert steps(run) == [1, 5]
    assert list(run.broken) == [2, 3, 4]
    assert all(isinstance(error, CheckpointError) for error in run.broken.values())
    assert "0 bytes" in str(run.broken[2])
    assert "holds config.json" in str(run.broken[3])
    assert "holds nothing" in str(run.broken[4])


def test_a_broken_adapter_configuration(tmp_path):
    base = full(tmp_path / "base", 0)
    for step in (1, 2):
        adapter(tmp_path / f"checkpoint-{step}", step, str(base))
    (tmp_path / "checkpoint-1/adapter_config.json").write_text("{")
    assert list(find_run(tmp_path).broken) == [1]


def test_a_run_of_broken_checkpoints(tmp_path):
    (tmp_path / "checkpoint-1").mkdir()
    with pytest.raises(AttnshiftError, match="none of the 1 checkpoints"):
        find_run(tmp_path)


@pytest.mark.parametrize(
    ("file", "layout", "command"),
    [
        ("global_step5/zero_pp_rank_0_mp_rank_00_model_states.pt", "DeepSpeed", "zero_to_fp32"),
        ("checkpoint-5/pytorch_model_fsdp_0/__0_0.distcp", "FSDP", "merge-weights"),
        ("step-00005/lit_model.pth", "LitGPT", "convert_from_litgpt"),
        ("lit_model.pth", "LitGPT", "convert_from_litgpt"),
    ],
)
def test_other_layouts_are_named_with_their_conversion(tmp_path, file, layout, command):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_bytes(b"")
    with pytest.raises(AttnshiftError, match=layout) as caught:
        find_run(tmp_path)
    assert command in caught.value.remedy


def test_optimizer_shards_beside_weights_are_no_checkpoint(tmp_path):
    single = full(tmp_path / "checkpoint-5", 1)
    (single / "global_step5").mkdir()
    (single / "global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"")
    run = find_run(single)
    assert steps(run) == [5]
    assert told(run, "global_step5/", "DeepSpeed")
    assert steps(find_run(tmp_path)) == [5]


# Paths without checkpoints


@pytest.mark.parametrize(
    ("name", "why"), [("gone", "doesn't exist"), ("file", "is a file"), ("empty", "no checkpoints")]
)
def test_paths_without_checkpoints(tmp_path, name, why):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AttnshiftError, match=why) as caught:
        find_run(tmp_path / name)
    assert name in caught.value.problem


# A single checkpoint


def test_a_single_checkpoint_at_its_stated_step(tmp_path):
    trainer_state(full(tmp_path / "model", 1), global_step=7, epoch=0.5)
    (checkpoint,) = find_run(tmp_path / "model").checkpoints
    assert (checkpoint.step, checkpoint.epoch, checkpoint.kind) == (7, 0.5, "full")


def test_a_single_checkpoint_at_the_step_of_its_name(tmp_path):
    assert steps(find_run(full(tmp_path / "checkpoint-30", 1))) == [30]


def test_a_single_checkpoint_whose_step_nobody_states(tmp_path):
    run = find_run(full(tmp_path / "model", 1))
    assert steps(run) == [0]
    assert told(run, "states the step of model/", "step 0")
    run = find_run(tmp_path / "model", base=str(full(tmp_path / "other", 2)))
    assert steps(run) == [0, 1]
    assert told(run, "step 1")


def test_a_lone_unnumbered_folder_is_to_be_given_itself(tmp_path):
    full(tmp_path / "final", 1)
    with pytest.raises(AttnshiftError, match="final/") as caught:
        find_run(tmp_path)
    assert "itself" in caught.value.remedy


# Unnumbered folders


def test_aliases(tmp_path):
    for step in (1, 2):
        full(tmp_path / f"checkpoint-{step}", step)
    full(tmp_path / "best", 1)
    full(tmp_path / "final", 2)
    full(tmp_path, 2)
    (tmp_path / "latest").symlink_to("checkpoint-2")
    run = find_run(tmp_path)
    assert steps(run) == [1, 2]
    assert run.aliases == {"best": 1, "final": 2, "latest": 2, ".": 2}
    assert told(run, "best/", "step 1")


def test_an_alias_is_equal_to_the_last_byte(tmp_path):
    """Two large tensors that differ between the sampled blocks have one fingerprint."""
    content = {"w": torch.zeros(2**21, dtype=torch.uint8)}
    full(tmp_path / "checkpoint-1", content)
    content["w"][2**16 + 1] = 1
    full(tmp_path / "final", content)
    full(tmp_path / "checkpoint-2", content)
    run = find_run(tmp_path)
    assert run.fingerprints[1] == run.fingerprints[2]
    assert run.aliases == {"final": 2}


def test_an_unnumbered_folder_at_the_step_it_states(tmp_path):
    full(tmp_path / "checkpoint-1", 1)
    trainer_state(full(tmp_path / "final", 2), global_step=9, epoch=3)
    full(tmp_path / "copy", 2)
    run = find_run(tmp_path)
    assert [(checkpoint.step, checkpoint.epoch) for checkpoint in run.checkpoints] == [(1, None), (9, 3.0)]
    assert run.aliases == {"copy": 9}


def test_unplaced_folders(tmp_path):
    full(tmp_path / "checkpoint-1", 1)
    full(tmp_path / "best", 2)
    trainer_state(full(tmp_path / "final", 3), global_step=1)
    full(tmp_path / "torn", 4)
    (tmp_path / "torn/model.safetensors").write_bytes(b"torn")
    run = find_run(tmp_path)
    assert steps(run) == [1]
    assert not run.aliases
    assert told(run, "best/", "unplaced", "states no step")
    assert told(run, "final/", "unplaced", "step 1")
    assert told(run, "torn/", "4 bytes")


def test_merged_weights_win_over_an_adapter_beside_them(tmp_path):
    adapter(full(tmp_path / "checkpoint-1", 1), 1, "base")
    run = find_run(tmp_path)
    assert run.checkpoints[0].kind == "full"
    assert told(run, "checkpoint-1/", "merged")


# Step 0


@pytest.mark.parametrize("how", ["option", "relative option", "manifest", "folder"])
def test_step_0_is_the_base(tmp_path, how, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "run"
    full(root / "checkpoint-5", 5)
    folder = {"option": tmp_path / "model", "relative option": tmp_path / "model", "folder": root / "base"}
    base = full(folder.get(how, root / "start"), 0)
    if how == "manifest":
        write_json(root / "attnshift.json", {"base": "start"})
    run = find_run("run", base={"option": str(base), "relative option": "model"}.get(how))
    assert steps(run) == [0, 5]
    assert run.checkpoints[0].path == run.base == base
    assert run.notes == ()


def test_the_option_wins_over_the_manifest(tmp_path):
    full(tmp_path / "run/checkpoint-5", 5)
    full(tmp_path / "run/base", 1)
    other = full(tmp_path / "other", 2)
    write_json(tmp_path / "run/attnshift.json", {"base": "base"})
    assert find_run(tmp_path / "run", base=str(other)).base == other


@pytest.mark.parametrize(
    "name", ["", "nowhere", "org/name", "../x", "a b", "~nobody/x", "a/b/c/d", "nul\0l", "x" * 3000]
)
def test_an_option_that_names_no_base(tmp_path, name):
    full(tmp_path / "checkpoint-5", 5)
    with pytest.raises(AttnshiftError, match="no base model"):
        find_run(tmp_path, base=name)


def test_an_adapter_is_no_base(tmp_path):
    full(tmp_path / "run/checkpoint-5", 5)
    with pytest.raises(AttnshiftError, match="no base model"):
        find_run(tmp_path / "run", base=str(adapter(tmp_path / "lora", 1, "x")))


def test_a_manifests_base_that_is_not_on_disk(tmp_path):
    full(tmp_path / "checkpoint-5", 5)
    write_json(tmp_path / "attnshift.json", {"base": "some/model"})
    run = find_run(tmp_path)
    assert steps(run) == [5]
    assert told(run, "some/model", "--base")


def test_a_numbered_step_0(tmp_path):
    base = full(tmp_path / "run/checkpoint-0", 0)
    full(tmp_path / "run/checkpoint-5", 5)
    assert steps(find_run(tmp_path / "run")) == [0, 5]
    assert find_run(tmp_path / "run").notes == ()
    assert steps(find_run(tmp_path / "run", base=str(base))) == [0, 5]
    assert steps(find_run(tmp_path / "run", base=str(full(tmp_path / "same", 0)))) == [0, 5]
    with pytest.raises(AttnshiftError, match="both step 0"):
        find_run(tmp_path / "run", base=str(full(tmp_path / "another", 1)))


def test_the_base_stands_in_for_a_broken_step_0(tmp_path):
    full(tmp_path / "base", 0)
    full(tmp_path / "checkpoint-5", 5)
    (tmp_path / "checkpoint-0").mkdir()
    run = find_run(tmp_path)
    assert steps(run) == [0, 5]
    assert not run.broken
    assert told(run, "step 0 is the base")


def test_a_broken_base(tmp_path):
    (full(tmp_path / "base", 0) / "model.safetensors").write_bytes(b"")
    full(tmp_path / "checkpoint-5", 5)
    assert list(find_run(tmp_path).broken) == [0]


# Adapters


@pytest.mark.parametrize("where", ["absolute", "relative", "beside", "folder", "manifest", "option"])
def test_the_base_of_adapters(tmp_path, where):
    root = tmp_path / "run"
    folder = {"relative": root / "models/b", "folder": root / "base", "manifest": root / "m"}
    base = full(folder.get(where, tmp_path / "b"), 0)
    stated = {"absolute": str(base), "relative": "models/b", "beside": "../b"}.get(where, "/gone/from/here")
    for step in (10, 20):
        adapter(root / f"checkpoint-{step}", step, stated)
    if where == "manifest":
        write_json(root / "attnshift.json", {"base": "m"})
    run = find_run(root, base=str(base) if where == "option" else None)
    assert run.base == base
    assert [(checkpoint.step, checkpoint.kind) for checkpoint in run.checkpoints] == [
        (0, "full"),
        (10, "adapter"),
        (20, "adapter"),
    ]
    assert run.notes == ()
    assert trained_tensors(run) is None


def test_a_base_inside_the_run_that_only_the_adapters_name(tmp_path):
    adapter(tmp_path / "checkpoint-1", 1, str(full(tmp_path / "start", 0)))
    run = find_run(tmp_path)
    assert run.base == tmp_path / "start"
    assert run.notes == ()


def test_the_base_of_adapters_in_the_hubs_cache(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    snapshot = full(cache / "models--some--model/snapshots" / ("a" * 40), 0)
    (cache / "models--some--model/refs").mkdir()
    (cache / "models--some--model/refs/main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    adapter(tmp_path / "run/checkpoint-1", 1, "some/model")
    assert find_run(tmp_path / "run").base == snapshot


@pytest.mark.parametrize("name", ["some/model", None, "", "../../nowhere", "nul\0l"])
def test_adapters_without_their_base(tmp_path, name):
    adapter(tmp_path / "checkpoint-1", 1, name)
    with pytest.raises(AttnshiftError, match="need their base") as caught:
        find_run(tmp_path, allow_download=True)
    assert repr(name or "") in caught.value.problem
    assert "--base" in caught.value.remedy


def test_adapters_to_different_bases(tmp_path):
    base = full(tmp_path / "base", 0)
    adapter(tmp_path / "checkpoint-1", 1, "a")
    adapter(tmp_path / "checkpoint-2", 2, "b")
    with pytest.raises(AttnshiftError, match="checkpoint-1/: 'a', checkpoint-2/: 'b'"):
        find_run(tmp_path, base=str(base))


def test_the_broken_base_of_adapters(tmp_path):
    (full(tmp_path / "base", 0) / "model.safetensors").write_bytes(b"")
    adapter(tmp_path / "checkpoint-1", 1, "base")
    with pytest.raises(CheckpointError, match="0 bytes"):
        find_run(tmp_path)


def test_the_alias_of_an_adapter(tmp_path):
    full(tmp_path / "base", 0)
    adapter(tmp_path / "checkpoint-1", 1, "base")
    adapter(tmp_path / "final", 1, "base", inference_mode=True)
    assert find_run(tmp_path).aliases == {"final": 1}


def test_an_adapter_saved_at_step_0(tmp_path):
    full(tmp_path / "base", 9)
    for step in (0, 1):
        adapter(tmp_path / f"checkpoint-{step}", step, "base")
    run = find_run(tmp_path)
    assert [checkpoint.kind for checkpoint in run.checkpoints] == ["adapter", "adapter"]
    assert run.base == tmp_path / "base"
    assert told(run, "checkpoint-0/", "not the bare base")


def test_a_single_adapter_comes_after_its_base(tmp_path):
    base = full(tmp_path / "b", 0)
    assert steps(find_run(adapter(tmp_path / "lora", 1, str(base)))) == [0, 1]


# Downloads


def test_only_an_option_is_ever_downloaded(tmp_path, monkeypatch):
    asked = []

    def snapshot_download(name, *, revision=None, local_files_only=False, allow_patterns=None):
        asked.append((name, local_files_only))
        if local_files_only:
            raise FileNotFoundError
        return str(full(tmp_path / "downloaded", 0))

    def model_info(name, **_):
        asked.append((name, False))
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename="model.safetensors", size=1)])

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.model_info", model_info)
    adapter(tmp_path / "run/checkpoint-1", 1, "from/config")
    write_json(tmp_path / "run/attnshift.json", {"base": "from/manifest"})
    with pytest.raises(AttnshiftError):
        find_run(tmp_path / "run", allow_download=True)
    with pytest.raises(AttnshiftError):
        find_run(tmp_path / "run", base="from/user")
    assert all(local for _, local in asked)
    assert find_run(tmp_path / "run", base="from/user", allow_download=True).base == tmp_path / "downloaded"
    assert asked[-1] == ("from/user", False)


@pytest.mark.parametrize(
    ("name", "why"), [("some/model", "the base 'some/model' .* can't be downloaded"), ("no hub name", "no base model")]
)
def test_a_download_that_fails(tmp_path, name, why):
    full(tmp_path / "checkpoint-1", 1)
    with pytest.raises(AttnshiftError, match=why) as caught:
        find_run(tmp_path, base=name, allow_download=True)
    assert "--base" in caught.value.remedy


# Equal weights


def test_two_steps_with_the_same_weights(tmp_path):
    full(tmp_path / "checkpoint-1", 1)
    full(tmp_path / "checkpoint-2", 1)
    with pytest.raises(AttnshiftError, match=r"steps 1 and 2 .*checkpoint-1 and .*checkpoint-2"):
        find_run(tmp_path)


def test_a_step_equal_to_the_base(tmp_path):
    full(tmp_path / "base", 1)
    full(tmp_path / "checkpoint-2", 1)
    with pytest.raises(AttnshiftError, match="steps 0 and 2"):
        find_run(tmp_path)


def test_two_equal_adapters_and_two_that_differ_in_alpha(tmp_path):
    full(tmp_path / "base", 0)
    adapter(tmp_path / "checkpoint-1", 1, "base")
    adapter(tmp_path / "checkpoint-2", 1, "base", lora_alpha=32)
    assert steps(find_run(tmp_path)) == [0, 1, 2]
    adapter(tmp_path / "checkpoint-2", 1, "base")
    with pytest.raises(AttnshiftError, match="steps 1 and 2"):
        find_run(tmp_path)


# Epochs


def test_epochs(tmp_path):
    for step in (1, 2, 3, 4):
        full(tmp_path / f"checkpoint-{step}", step)
    trainer_state(tmp_path / "checkpoint-1", epoch=0.25)
    trainer_state(tmp_path / "checkpoint-2", global_step=2, epoch=0.5, log_history=[{"step": 2, "epoch": 9.0}])
    log = [{"step": 3, "epoch": 0.75}, {"step": 3, "loss": 1.0}, {"epoch": 1}, 7, {"step": "4", "epoch": 1}]
    trainer_state(tmp_path, global_step=100, epoch=25.0, log_history=log)
    assert [checkpoint.epoch for checkpoint in find_run(tmp_path).checkpoints] == [0.25, 0.5, 0.75, None]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 100_000, '{"global_step": "5", "epoch": NaN, "log_history": {}}', '{"epoch": true}']
)
def test_a_damaged_trainer_state_states_nothing(tmp_path, text):
    (full(tmp_path / "checkpoint-1", 1) / "trainer_state.json").write_text(text)
    assert find_run(tmp_path).checkpoints[0].epoch is None


# Trained tensors


def test_trained_tensors(tmp_path):
    content = state(1)
    for step in (1, 2, 3):
        content["layers.0.weight"] += step
        full(tmp_path / f"checkpoint-{step}", content)
    assert trained_tensors(find_run(tmp_path)) == {"layers.0.weight"}
    assert trained_tensors(find_run(tmp_path / "checkpoint-1")) is None


def test_a_run_travels_to_other_processes(tmp_path):
    full(tmp_path / "checkpoint-1", 1)
    (tmp_path / "checkpoint-2").mkdir()
    run = find_run(tmp_path)
    copy = pickle.loads(pickle.dumps(run))
    assert copy.checkpoints == run.checkpoints
    assert str(copy.broken[2]) == str(run.broken[2])
