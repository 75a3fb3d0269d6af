import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import full, sharded, state, write_json
from safetensors.torch import save_file

from attnshift.checkpoints.checkpoint import read_checkpoint
from attnshift.checkpoints.tensors import open_tensors, weight_files
from attnshift.errors import CheckpointError

NAMES = ("embed.weight", "layers.0.weight", "norm.bias")


def assert_holds(folder: Path, seed: int) -> None:
    with read_checkpoint(folder, 0).open() as tensors:
        assert tensors.names == NAMES
        for name, expected in state(seed).items():
            assert tensors.shape(name) == tuple(expected.shape)
            assert tensors.dtype(name) == expected.dtype
            assert torch.equal(tensors[name], expected)
        with pytest.raises(KeyError):
            tensors["nothing"]


def test_one_file(tmp_path):
    assert_holds(full(tmp_path, 1), 1)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_shards(tmp_path, suffix):
    assert_holds(sharded(tmp_path, 2, suffix), 2)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_of_tensors(tmp_path, zipped):
    write_json(tmp_path / "config.json", {})
    torch.save(state(3), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    assert_holds(tmp_path, 3)


def test_safetensors_win_over_a_pickle(tmp_path):
    torch.save(state(4), tmp_path / "pytorch_model.bin")
    assert_holds(full(tmp_path, 5), 5)


def test_parameters_come_without_gradients(tmp_path):
    write_json(tmp_path / "config.json", {})
    torch.save({"w": torch.nn.Parameter(torch.ones(2))}, tmp_path / "pytorch_model.bin")
    with read_checkpoint(tmp_path, 0).open() as tensors:
        assert not tensors["w"].requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.int8, torch.bool])
def test_unusual_types(tmp_path, dtype):
    value = torch.tensor([[0, 1], [1, 0]]).to(dtype)
    full(tmp_path, {"w": value, "scalar": value[0, 0].clone(), "empty": value[:0].clone()})
    with read_checkpoint(tmp_path, 0).open() as tensors:
        assert tensors.dtype("w") == dtype
        assert tensors.shape("scalar") == ()
        assert tensors.shape("empty") == (0, 2)
        assert torch.equal(tensors["w"].float(), value.float())


def test_a_tensor_outlives_its_file(tmp_path):
    with read_checkpoint(full(tmp_path, 1), 0).open() as tensors:
        kept = tensors["embed.weight"]
    assert torch.equal(kept, state(1)["embed.weight"])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(part=st.floats(0, 1, exclude_max=True))
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_truncated_files(tmp_path, suffix, part):
    path = tmp_path / f"model{suffix}"
    if suffix == ".bin":
        torch.save(state(1), path)
    else:
        save_file(state(1), path)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(CheckpointError) as caught:
        open_tensors((path,))
    assert str(path) in caught.value.problem
    assert f"{path.stat().st_size} bytes" in caught.value.problem
    assert "--steps" in caught.value.remedy


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(data=st.binary(max_size=200))
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_garbage(tmp_path, suffix, data):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="bytes"):
        open_tensors((path,))


def test_a_missing_file_and_a_folder(tmp_path):
    for name in ("model.safetensors", "model.bin"):
        with pytest.raises(CheckpointError, match="no such file"):
            open_tensors((tmp_path / name,))
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(CheckpointError):
        open_tensors((tmp_path / "folder.safetensors",))


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("harm-was-done"),))


@pytest.mark.parametrize(
    "content",
    [Harmful(), {"w": Harmful()}, [torch.ones(2)], {"state": {"w": torch.ones(2)}}, {1: torch.ones(2)}, {"n": 3}],
)
def test_refused_pickles(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="can't be read"):
        open_tensors((tmp_path / "pytorch_model.bin",))
    assert not (tmp_path / "harm-was-done").exists()


def test_sparse_tensors_are_refused(tmp_path):
    torch.save({"w": torch.eye(2).to_sparse()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        open_tensors((tmp_path / "pytorch_model.bin",))


def test_a_missing_shard(tmp_path):
    (sharded(tmp_path, 1) / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="lacks 1 of 2 shards: model-00002"):
        read_checkpoint(tmp_path, 0)


def test_a_tensor_missing_from_its_shard(tmp_path):
    sharded(tmp_path, 1)
    save_file({"other": torch.ones(1)}, tmp_path / "model-00002-of-00002.safetensors")
    with pytest.raises(CheckpointError, match="lacks the tensor 'layers"):
        read_checkpoint(tmp_path, 0).open()


@pytest.mark.parametrize(
    "content", [{}, [], {"weight_map": {}}, {"weight_map": []}, {"weight_map": {"w": 3}}, {"weight_map": {"w": None}}]
)
def test_a_useless_index(tmp_path, content):
    write_json(tmp_path / "model.safetensors.index.json", content)
    with pytest.raises(CheckpointError, match=r"index\.json"):
        weight_files(tmp_path / "model.safetensors.index.json")


def point_index(folder: Path, shard: str, stem: str = "model.safetensors") -> Path:
    write_json(folder / f"{stem}.index.json", {"weight_map": {"w": shard}})
    return folder / f"{stem}.index.json"


@pytest.mark.parametrize(
    "shard", ["../out.safetensors", "a/../../out.safetensors", "link.safetensors", "/out.safetensors"]
)
def test_an_index_stays_in_its_folder(tmp_path, shard):
    run = tmp_path / "checkpoint-1"
    run.mkdir()
    save_file({"w": torch.ones(1)}, tmp_path / "out.safetensors")
    (run / "link.safetensors").symlink_to("../out.safetensors")
    with pytest.raises(CheckpointError, match="leaves"):
        weight_files(point_index(run, shard))


@pytest.mark.parametrize(
    "shard", ["training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "rng_state.pth"]
)
def test_an_index_never_leads_to_a_trainers_pickles(tmp_path, shard):
    (tmp_path / shard).write_bytes(b"")
    with pytest.raises(CheckpointError, match="as a weight file"):
        weight_files(point_index(tmp_path, shard, "pytorch_model.bin"))


def test_the_hubs_cache_links_into_its_blobs(tmp_path):
    """The cache keeps `snapshots/REVISION/file -> ../../blobs/HASH`."""
    made, blobs, snapshot = tmp_path / "made", tmp_path / "models--x/blobs", tmp_path / "models--x/snapshots/abc"
    sharded(made, 1)
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for i, file in enumerate(made.iterdir()):
        shutil.copy(file, blobs / str(i))
        (snapshot / file.name).symlink_to(f"../../blobs/{i}")
    assert_holds(snapshot, 1)


def test_a_checkpoint_folder_may_be_a_link(tmp_path):
    sharded(tmp_path / "elsewhere/checkpoint-1", 1)
    (tmp_path / "checkpoint-1").symlink_to("elsewhere/checkpoint-1")
    assert_holds(tmp_path / "checkpoint-1", 1)


def test_the_trainers_own_files_are_never_opened(tmp_path):
    full(tmp_path, 1)
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"):
        (tmp_path / name).write_bytes(b"not to be read")
    checkpoint = read_checkpoint(tmp_path, 0)
    assert checkpoint.files == (tmp_path / "model.safetensors",)
    assert tuple(checkpoint.fingerprint().by_tensor) == NAMES
