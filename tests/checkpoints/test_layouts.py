"""Run directories as other tools leave them: read, or named with the command that converts them."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from made_runs import adapter, full, sharded, state, trainer_state, write_json
from safetensors.torch import save_file

from attnshift.checkpoints.checkpoint import read_checkpoint
from attnshift.checkpoints.foreign import _LAYOUTS, find_foreign
from attnshift.checkpoints.run import Run, find_run
from attnshift.checkpoints.tokenizer import tokenizer_dir
from attnshift.errors import AttnshiftError, CheckpointError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """An empty cache and no way out."""
    folder = tmp_path_factory.mktemp("hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return folder


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def steps(run: Run) -> list[int]:
    return [checkpoint.step for checkpoint in run.checkpoints]


# Trainers that write what is read


def test_torchtune(tmp_path):
    """Merged shards, the adapter in two forms, the configuration and the tokenizer in every epoch's folder."""
    for epoch in (0, 1, 10):
        folder = adapter(sharded(tmp_path / f"epoch_{epoch}", epoch), epoch, "meta-llama/Llama-3.2-1B")
        torch.save({"lora_A": torch.ones(2, 4)}, folder / "adapter_model.pt")
        touch(folder / "tokenizer.model")
        touch(folder / "original/orig_params.json")
    torch.save({"epochs_run": 11}, touch(tmp_path / "recipe_state/recipe_state.pt"))
    touch(tmp_path / "torchtune_config.yaml")
    run = find_run(tmp_path)
    assert [(c.step, c.epoch, c.kind) for c in run.checkpoints] == [
        (1, 1.0, "full"),
        (2, 2.0, "full"),
        (11, 11.0, "full"),
    ]
    assert sum("merged weights are used" in note for note in run.notes) == 3
    assert any("counted in epochs" in note and "epoch_0/ is step 1" in note for note in run.notes)
    assert tokenizer_dir(run) == tmp_path / "epoch_10"


def test_torchtunes_index_lists_what_it_no_longer_saves(tmp_path):
    """It is that of Llama 2, say, whose files hold a buffer that models compute."""
    index = sharded(tmp_path / "epoch_0", 1) / "model.safetensors.index.json"
    listed = json.loads(index.read_text())
    listed["weight_map"]["layers.0.self_attn.rotary_emb.inv_freq"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(listed))
    with find_run(tmp_path).checkpoints[0].open() as tensors:
        assert tensors.names == tuple(sorted(state(1)))
    listed["weight_map"]["layers.0.self_attn.weight"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(listed))
    assert "lacks the tensor" in refusal(tmp_path).problem


def test_torchtune_that_saved_its_adapters_alone(tmp_path):
    base = full(tmp_path / "model", 0)
    for epoch in (0, 1):
        adapter(tmp_path / f"run/epoch_{epoch}", epoch, str(base))
        write_json(tmp_path / f"run/epoch_{epoch}/config.json", {"model_type": "tiny"})
    run = find_run(tmp_path / "run")
    assert [(c.step, c.kind) for c in run.checkpoints] == [(0, "full"), (1, "adapter"), (2, "adapter")]


def test_epochs_beside_steps_are_placed_by_their_weights(tmp_path):
    for step in (100, 200):
        full(tmp_path / f"step_{step}", step)
    full(tmp_path / "epoch_0", 200)
    run = find_run(tmp_path)
    assert steps(run) == [100, 200]
    assert run.aliases == {"epoch_0": 200}


def test_an_epoch_whose_trainer_states_the_step(tmp_path):
    for epoch in (1, 2):
        trainer_state(full(tmp_path / f"epoch-{epoch}", epoch), global_step=500 * epoch, epoch=epoch)
    full(tmp_path / "step_750", 9)
    assert [(c.step, c.epoch) for c in find_run(tmp_path).checkpoints] == [(500, 1.0), (750, None), (1000, 2.0)]


def test_a_broken_epoch_is_told(tmp_path):
    full(tmp_path / "epoch_0", 0)
    (tmp_path / "epoch_1").mkdir()
    assert list(find_run(tmp_path).broken) == [2]


def test_two_folders_of_one_epoch(tmp_path):
    full(tmp_path / "epoch_1", 0)
    full(tmp_path / "epoch-01", 1)
    with pytest.raises(AttnshiftError, match=r"epoch-01/ and epoch_1/.*both epoch 1"):
        find_run(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["step_100", "global_step100", "global_step_100", "iter_0000100", "step-000100", "ckpt-100", "epoch=0-step=100"],
)
def test_names_of_steps(tmp_path, name):
    full(tmp_path / name, 1)
    assert steps(find_run(tmp_path)) == [100]


def test_an_adapter_that_peft_saved_under_its_own_name(tmp_path):
    """`save_pretrained` of an adapter that isn't called default writes into a folder of its name."""
    base = full(tmp_path / "model", 0)
    for step in (10, 20):
        adapter(tmp_path / f"run/checkpoint-{step}/policy", step, str(base))
        trainer_state(tmp_path / f"run/checkpoint-{step}", global_step=step, epoch=step / 10)
        touch(tmp_path / f"run/checkpoint-{step}/tokenizer.json")
    run = find_run(tmp_path / "run")
    assert [(c.step, c.epoch, c.path.name) for c in run.checkpoints][1:] == [(10, 1.0, "policy"), (20, 2.0, "policy")]
    assert tokenizer_dir(run) == tmp_path / "run/checkpoint-20"


def test_several_adapters_in_one_checkpoint(tmp_path):
    full(tmp_path / "model", 0)
    full(tmp_path / "run/checkpoint-10", 1)
    for name in ("policy", "reference"):
        adapter(tmp_path / "run/checkpoint-20" / name, 1, "../model")
    assert "policy, reference" in str(find_run(tmp_path / "run").broken[20])


def test_a_run_inside_a_run_is_none_of_its_checkpoints(tmp_path):
    trainer_state(full(tmp_path / "checkpoint-10", 1), global_step=10)
    trainer_state(full(tmp_path / "another/checkpoint-20", 2), global_step=20)
    assert steps(find_run(tmp_path)) == [10]


def test_a_runs_own_folder_with_the_last_weights(tmp_path):
    """`trainer.save_model()` without a folder, as axolotl, LLaMA-Factory and TRL end."""
    for step in (1, 2):
        trainer_state(full(tmp_path / f"checkpoint-{step}", step), global_step=step, epoch=step / 2)
        touch(tmp_path / f"checkpoint-{step}/training_args.bin")
    full(tmp_path, 2)
    touch(tmp_path / "tokenizer.json")
    run = find_run(tmp_path)
    assert run.aliases == {".": 2}
    assert tokenizer_dir(run) == tmp_path


def test_weights_of_accelerates_save_state_lack_their_configuration(tmp_path):
    folder = tmp_path / "step_100"
    save_file(state(1), touch(folder / "model.safetensors"))
    touch(folder / "random_states_0.pkl")
    with pytest.raises(AttnshiftError) as caught:
        find_run(tmp_path)
    assert f"cp BASE/config.json {folder}/" in caught.value.remedy
    write_json(folder / "config.json", {})
    assert steps(find_run(tmp_path)) == [100]


# Bases in four bits


FOUR_BITS = {"model_type": "tiny", "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}


def cached(cache: Path, name: str, seed: int) -> Path:
    """A model in the hub's cache."""
    repository, revision = cache / f"models--{name.replace('/', '--')}", "a" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(revision)
    return full(repository / "snapshots" / revision, seed)


def test_a_base_in_four_bits_is_replaced_by_its_twin_aloud(tmp_path, cache):
    write_json(cached(cache, "unsloth/tiny-unsloth-bnb-4bit", 1) / "config.json", FOUR_BITS)
    twin = cached(cache, "unsloth/tiny", 0)
    adapter(tmp_path / "checkpoint-1", 1, "unsloth/tiny-unsloth-bnb-4bit")
    run = find_run(tmp_path)
    assert run.base == twin
    assert any("four bits" in note and "full precision" in note for note in run.notes)


def test_a_base_in_four_bits_that_only_its_name_tells(tmp_path):
    base = full(tmp_path / "tiny", 0)
    adapter(tmp_path / "run/checkpoint-1", 1, "unsloth/tiny-bnb-4bit")
    with pytest.raises(AttnshiftError, match="quantised by bitsandbytes") as caught:
        find_run(tmp_path / "run")
    assert caught.value.remedy == "--base unsloth/tiny"
    run = find_run(tmp_path / "run", base=str(base))
    assert run.base == base
    assert any("four bits" in note for note in run.notes)


def test_a_base_in_four_bits_under_another_name(tmp_path):
    write_json(full(tmp_path / "model", 0) / "config.json", FOUR_BITS)
    adapter(tmp_path / "run/checkpoint-1", 1, "../model")
    with pytest.raises(AttnshiftError, match="quantised by bitsandbytes"):
        find_run(tmp_path / "run")
    with pytest.raises(AttnshiftError, match="quantised by bitsandbytes"):
        find_run(tmp_path / "run", base=str(tmp_path / "model"))


def test_whole_checkpoints_in_four_bits(tmp_path):
    full(tmp_path / "checkpoint-1", 1)
    write_json(full(tmp_path / "checkpoint-2", 2) / "config.json", FOUR_BITS)
    assert "quantised by bitsandbytes" in find_run(tmp_path).broken[2].problem


# Layouts that others convert

ZERO = "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"


def zero(folder: Path) -> Path:
    """ZeRO 3 under the HF Trainer, without gathering: shards, the script, no weights."""
    write_json(folder / "config.json", {"model_type": "tiny"})
    trainer_state(folder, global_step=5)
    touch(folder / f"global_step5/{ZERO}")
    touch(folder / "global_step5/zero_pp_rank_0_mp_rank_00_model_states.pt")
    (folder / "latest").write_text("global_step5")
    (folder / "zero_to_fp32.py").write_text("raise SystemExit('a program of the run')")
    return folder


def refusal(run: Path) -> AttnshiftError:
    with pytest.raises(AttnshiftError) as caught:
        find_run(run)
    return caught.value


def test_zero_under_the_trainer(tmp_path):
    at = zero(tmp_path / "checkpoint-5")
    error = refusal(tmp_path)
    assert "DeepSpeed" in error.problem
    assert error.remedy == (
        f"python -m deepspeed.utils.zero_to_fp32 {at} {at}/hf --tag global_step5 --safe_serialization "
        f"&& cp {at}/config.json {at}/hf/ (DeepSpeed 0.16 or later)"
    )


def test_zero_of_deepspeeds_own(tmp_path):
    """`engine.save_checkpoint(run)`: tags beside the script and `latest`."""
    for step in (5, 10):
        touch(tmp_path / f"global_step{step}/{ZERO}")
    touch(tmp_path / "zero_to_fp32.py")
    (tmp_path / "latest").write_text("global_step10")
    error = refusal(tmp_path)
    assert f"zero_to_fp32 {tmp_path} {tmp_path}/global_step5/hf --tag global_step5" in error.remedy
    assert "cp BASE/config.json" in error.remedy
    assert "so for the others" in error.remedy


def test_placeholders_of_zero_3(tmp_path):
    """Without gathering, older Trainers leave a file of tensors without elements."""
    at = zero(tmp_path / "checkpoint-5")
    save_file({name: torch.zeros(0) for name in state(1)}, at / "model.safetensors")
    error = refusal(tmp_path)
    assert "3 of 3 tensors have no elements" in error.problem
    assert "zero_to_fp32" in error.remedy
    full(at / "hf", 1)
    assert steps(find_run(tmp_path)) == [5]
    assert find_run(tmp_path).checkpoints[0].path == at / "hf"


def test_placeholders_without_their_shards(tmp_path):
    full(tmp_path / "checkpoint-5", {"w": torch.zeros(0)})
    assert "global_stepN" in refusal(tmp_path).remedy


def test_placeholders_of_an_adapter(tmp_path):
    full(tmp_path / "model", 0)
    at = adapter(zero(tmp_path / "run/checkpoint-5"), 1, "../model")
    (at / "config.json").unlink()
    save_file({"lora_A": torch.zeros(0)}, at / "adapter_model.safetensors")
    remedy = refusal(tmp_path / "run").remedy
    assert "--exclude_frozen_parameters" in remedy
    assert f"cp {at}/adapter_config.json {at}/hf/" in remedy
    # What follows the script is run as it is printed, on what the script leaves.
    (at / "hf").mkdir()
    torch.save({"base_model.model.q.lora_A.default.weight": torch.ones(2)}, at / "hf/pytorch_model.bin")
    _, rename, remove, copy = remedy.partition(" (")[0].split(" && ")
    exec(shlex.split(rename)[-1], {})
    subprocess.run(f"{remove} && {copy}", shell=True, check=True)
    with read_checkpoint(at / "hf", 5).open() as tensors:
        assert tensors.names == ("base_model.model.q.lora_A.weight",)
    assert steps(find_run(tmp_path / "run")) == [0, 5]


@pytest.mark.parametrize(
    ("files", "layout", "command"),
    [
        (
            ["checkpoint-5/pytorch_model_fsdp_0/__0_0.distcp", "checkpoint-5/optimizer_0/__0_0.distcp"],
            "FSDP",
            "accelerate merge-weights {}/checkpoint-5/pytorch_model_fsdp_0 {}/checkpoint-5/hf && cp BASE/config.json",
        ),
        (
            ["step-100/.metadata", "step-100/__0_0.distcp"],
            "FSDP",
            "python -m torch.distributed.checkpoint.format_utils dcp_to_torch {}/step-100 {}/step-100/hf/whole.pt",
        ),
        (
            ["step-00005/lit_model.pth", "step-00005/model_config.yaml", "step-00005/config.json"],
            "LitGPT",
            "litgpt convert_from_litgpt {0}/step-00005 {0}/step-00005/hf && "
            "mv {0}/step-00005/hf/model.pth {0}/step-00005/hf/pytorch_model.bin && "
            "cp {0}/step-00005/config.json {0}/step-00005/hf/",
        ),
        (["step-00005/lit_model.pth.lora"], "LitGPT LoRA", "litgpt merge_lora {}/step-00005 && litgpt convert_from"),
        (["final/lit_model.pth"], "LitGPT", "litgpt convert_from_litgpt {}/final {}/hf"),
        (
            ["run.nemo"],
            "NeMo archive",
            "convert_llama_nemo_to_hf.py --input_name_or_path {}/run.nemo --output_path {}/hf/",
        ),
        (
            ["model_name=0--val_loss=1.55-step=9-consumed_samples=80.0/context/io.json"],
            "NeMo 2",
            "nemo llm export -y path={0}/model_name=0--val_loss=1.55-step=9-consumed_samples=80.0 target=hf "
            "output_path={0}/model_name=0--val_loss=1.55-step=9-consumed_samples=80.0/hf",
        ),
        (
            ["iter_0000100/common.pt", "iter_0000100/__0_0.distcp", "latest_checkpointed_iteration.txt"],
            "Megatron",
            "convert_checkpoints.py export --hf-model BASE --megatron-path {0}/iter_0000100 "
            "--hf-path {0}/iter_0000100/hf",
        ),
        (["iter_0000100/mp_rank_00/model_optim_rng.pt"], "Megatron-LM", "--load {} --ckpt-convert-format torch_dist"),
        (
            ["iter_0000100/mp_rank_00_001/model_optim_rng.pt"],
            "Megatron-LM",
            "--megatron-path DIST/torch_dist/iter_0000100",
        ),
        (
            ["global_step100/layer_00-model_00-model_states.pt", "global_step100/mp_rank_00_model_states.pt"],
            "GPT-NeoX",
            "convert_neox_to_hf.py --input_dir {0}/global_step100 --config_file CONFIG.yml "
            "--output_dir {0}/global_step100/hf",
        ),
        (
            ["global_step_100/actor/model_world_size_8_rank_0.pt", "global_step_100/actor/huggingface/config.json"],
            "verl",
            "verl.model_merger merge --backend fsdp --local_dir {0}/global_step_100/actor "
            "--target_dir {0}/global_step_100/hf",
        ),
    ],
)
def test_layouts_and_their_conversions(tmp_path, files, layout, command):
    for file in files:
        touch(tmp_path / file)
    error = refusal(tmp_path)
    assert layout in error.problem
    assert command.format(*[tmp_path] * command.count("{}") or [tmp_path]) in error.remedy


def test_final_weights_beside_checkpoints_in_shards(tmp_path):
    """FSDP's checkpoints are sharded, and the Trainer's last save isn't: they are told, not passed over."""
    for step in (5, 10):
        touch(tmp_path / f"checkpoint-{step}/pytorch_model_fsdp_0/__0_0.distcp")
    trainer_state(full(tmp_path, 1), global_step=15)
    run = find_run(tmp_path)
    assert steps(run) == [15]
    assert list(run.broken) == [5, 10]
    assert "accelerate merge-weights" in run.broken[5].remedy


def test_a_single_checkpoint_in_shards(tmp_path):
    at = zero(tmp_path / "checkpoint-5")
    assert f"zero_to_fp32 {at} {at}/hf --tag global_step5" in refusal(at).remedy
    assert f"cp {at}/config.json {at}/hf/" in refusal(at).remedy


@pytest.mark.parametrize("inner", ["policy", "hf"])
def test_a_single_checkpoint_whose_weights_lie_inside(tmp_path, inner):
    at = zero(tmp_path / "checkpoint-5")
    save_file({"w": torch.zeros(0)}, at / "model.safetensors")
    if inner == "policy":
        (at / "model.safetensors").unlink()
    full(at / inner, 1)
    run = find_run(at)
    assert [(checkpoint.step, checkpoint.path) for checkpoint in run.checkpoints] == [(5, at / inner)]


def test_a_path_is_quoted_for_the_shell(tmp_path):
    touch(tmp_path / "my run/step-5/lit_model.pth")
    command = refusal(tmp_path / "my run").remedy
    assert shlex.split(command)[2] == f"{tmp_path}/my run/step-5"


def test_the_readable_checkpoints_of_a_run_are_read_and_the_others_named(tmp_path):
    full(tmp_path / "checkpoint-5", 1)
    zero(tmp_path / "checkpoint-10")
    touch(tmp_path / "final/lit_model.pth")
    run = find_run(tmp_path)
    assert steps(run) == [5]
    assert "zero_to_fp32" in run.broken[10].remedy
    assert any("final/" in note and "convert_from_litgpt" in note for note in run.notes)


@pytest.mark.parametrize(
    "name", ["zero_pp_rank_0_mp_rank_00_model_states.pt", "__0_0.distcp", "lit_model.pth", "x.nemo"]
)
def test_none_of_it_is_opened(tmp_path, name, monkeypatch):
    (tmp_path / "checkpoint-5").mkdir()
    (tmp_path / "checkpoint-5" / name).write_bytes(b"cos\nsystem\n(S'touch harm'\ntR.")
    monkeypatch.chdir(tmp_path)
    assert refusal(tmp_path).remedy
    assert not (tmp_path / "harm").exists()


def test_an_ordinary_folder_is_none_of_them(tmp_path):
    assert find_foreign(full(tmp_path / "checkpoint-5", 1)) is None
    assert find_foreign(tmp_path / "nowhere") is None
    (tmp_path / "loop").symlink_to(tmp_path)
    assert find_foreign(tmp_path) is None


# A folder of runs


def test_a_folder_of_runs(tmp_path):
    for name in ("a", "b b"):
        full(tmp_path / name / "checkpoint-1", 1)
    (tmp_path / "logs").mkdir()
    error = refusal(tmp_path)
    assert "2 runs: a, b b" in error.problem
    assert error.remedy == f"name the runs: --ckpts {tmp_path}/a --ckpts '{tmp_path}/b b'"


# The commands that this machine has are run as they are printed


def distributed(folder: Path, content: dict[str, object]) -> None:
    """A checkpoint of torch.distributed, saved by one process."""
    import torch.distributed.checkpoint as dcp

    dcp.save(content, checkpoint_id=folder, no_dist=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["accelerate", "everything"])
def test_a_conversion_as_printed(tmp_path, how):
    full(tmp_path / "base", 0)
    weights = {name: tensor.clone() for name, tensor in state(5).items()}
    at = tmp_path / "run/checkpoint-5"
    if how == "accelerate":
        distributed(at / "pytorch_model_fsdp_0", {"model": weights})
    else:
        distributed(at, {"model": weights, "optim": {"lr": torch.ones(1)}})
    command = refusal(tmp_path / "run").remedy.partition(" (if torchtitan")[0].replace("BASE", str(tmp_path / "base"))
    tools = Path(sys.executable).parent
    command = command.replace("python ", f"{sys.executable} ").replace("accelerate merge", f"{tools}/accelerate merge")
    subprocess.run(command, shell=True, check=True, capture_output=True)
    (checkpoint,) = find_run(tmp_path / "run").checkpoints
    with checkpoint.open() as tensors:
        assert {name: tensors[name].tolist() for name in tensors.names} == {n: t.tolist() for n, t in weights.items()}
    assert checkpoint.step == 5
    assert json.loads((checkpoint.path / "config.json").read_text()) == {"model_type": "tiny"}
    shutil.rmtree(at / "hf")
    with pytest.raises(AttnshiftError):
        find_run(tmp_path / "run")


def test_a_checkpoint_error_is_one_of_ours(tmp_path):
    touch(tmp_path / "checkpoint-5/lit_model.pth")
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "checkpoint-5", 5)


def test_the_page_on_layouts_names_every_one():
    page = (Path(__file__).parents[2] / "docs/layouts.md").read_text(encoding="utf-8")
    for _, layout, _ in _LAYOUTS:
        assert layout in page
