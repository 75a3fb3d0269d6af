from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import adapter, full, sharded, state, write_json
from torch import Tensor

from attnshift.checkpoints.checkpoint import Checkpoint, read_checkpoint
from attnshift.checkpoints.fingerprint import BLOCK, WHOLE, Fingerprint, changed_tensors, same_weights

SIZE = WHOLE + WHOLE // 2 + 5
SAMPLED = [i * (SIZE - BLOCK) // 15 for i in range(16)]


def saved(folder: Path, content: dict[str, Tensor] | int) -> Checkpoint:
    return read_checkpoint(full(folder, content), 0)


def mark(folder: Path, content: dict[str, Tensor] | int) -> Fingerprint:
    return saved(folder, content).fingerprint()


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Checkpoint, Checkpoint]:
    """Two checkpoints of the same large tensor."""
    data = torch.randint(0, 256, (SIZE,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    root = tmp_path_factory.mktemp("large")
    return saved(root / "a", {"w": data}), saved(root / "b", {"w": data})


@contextmanager
def flipped(checkpoint: Checkpoint, at: int) -> Iterator[None]:
    """One byte of the only tensor is another one for a while; its bytes end the file."""
    (path,) = checkpoint.files
    with path.open("r+b") as file:
        where = path.stat().st_size - SIZE + at
        file.seek(where)
        before = file.read(1)
        file.seek(where)
        file.write(bytes([before[0] ^ 1]))
        file.flush()
        try:
            yield
        finally:
            file.seek(where)
            file.write(before)


def changed(a: Checkpoint, b: Checkpoint) -> frozenset[str]:
    with a.open() as first, b.open() as last:
        assert same_weights(first, last) == (not changed_tensors(first, last))
        return changed_tensors(first, last)


def test_it_is_of_the_content_and_not_of_the_files(tmp_path):
    one, two = mark(tmp_path / "a", 1), read_checkpoint(sharded(tmp_path / "b", 1), 0).fingerprint()
    write_json(tmp_path / "c/config.json", {"other": "config"})
    torch.save(state(1), tmp_path / "c/pytorch_model.bin")
    assert one == two == read_checkpoint(tmp_path / "c", 0).fingerprint()


def test_transposed_tensors_of_a_pickle(tmp_path):
    value = torch.arange(6.0).reshape(2, 3)
    write_json(tmp_path / "a/config.json", {})
    torch.save({"w": value.T}, tmp_path / "a/pytorch_model.bin")
    assert read_checkpoint(tmp_path / "a", 0).fingerprint() == mark(tmp_path / "b", {"w": value.T.contiguous()})


@pytest.mark.parametrize(
    "other",
    [
        {"v": torch.zeros(4)},
        {"w": torch.zeros(2, 2)},
        {"w": torch.zeros(4, dtype=torch.int32)},
        {"w": -torch.zeros(4)},
        {"w": torch.zeros(4), "v": torch.zeros(1)},
    ],
    ids=["name", "shape", "type", "sign of zero", "one more"],
)
def test_it_tells_everything_apart(tmp_path, other):
    a, b = saved(tmp_path / "a", {"w": torch.zeros(4)}), saved(tmp_path / "b", other)
    assert a.fingerprint().digest != b.fingerprint().digest
    assert not a.equals(b)


def test_only_the_changed_tensor_has_another_digest(tmp_path):
    content = state(1)
    before = mark(tmp_path / "a", content)
    content["norm.bias"][0] += 1e-6
    after = mark(tmp_path / "b", content)
    assert before.digest != after.digest
    assert {name for name in before.by_tensor if before.by_tensor[name] != after.by_tensor[name]} == {"norm.bias"}


@pytest.mark.parametrize("at", [0, SIZE - 1, *(start + 4000 * i for i, start in enumerate(SAMPLED))])
def test_a_byte_in_a_sampled_block_is_seen(pair, at):
    a, b = pair
    assert a.fingerprint() == b.fingerprint()
    with flipped(b, at):
        assert a.fingerprint().by_tensor["w"] != b.fingerprint().by_tensor["w"]
        assert changed(a, b) == {"w"}


def test_a_byte_between_the_blocks_is_seen_by_the_exact_functions_alone(pair):
    a, b = pair
    with flipped(b, SAMPLED[0] + BLOCK):
        assert a.fingerprint() == b.fingerprint()
        assert changed(a, b) == {"w"}


def test_up_to_a_mebibyte_every_byte_counts(tmp_path):
    value = torch.zeros(WHOLE, dtype=torch.uint8)
    before = mark(tmp_path / "a", {"w": value})
    value[BLOCK + 1] = 1
    assert before.digest != mark(tmp_path / "b", {"w": value}).digest


@settings(deadline=None, max_examples=30)
@given(at=st.integers(0, SIZE - 1))
def test_the_exact_functions_see_any_byte(pair, at):
    a, b = pair
    assert not changed(a, b)
    with flipped(b, at):
        assert changed(a, b) == {"w"}


def test_equal_weights(tmp_path):
    nan = {"w": torch.full((3,), float("nan"))}
    assert not changed(saved(tmp_path / "a", nan), saved(tmp_path / "b", nan))


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_saving_in_a_wider_type_changes_no_value(tmp_path, narrow):
    base = state(1, narrow)
    later = {name: tensor.float() for name, tensor in base.items()}
    later["norm.bias"] = later["norm.bias"] + 1e-7
    with saved(tmp_path / "a", base).open() as a, saved(tmp_path / "b", later).open() as b:
        assert changed_tensors(a, b) == {"norm.bias"}
        assert not same_weights(a, b)


def test_a_resized_tensor_is_changed_and_a_tied_one_is_not_counted(tmp_path):
    a, b = {"embed": torch.zeros(3, 2), "head": torch.ones(3)}, {"embed": torch.zeros(4, 2)}
    with saved(tmp_path / "a", a).open() as first, saved(tmp_path / "b", b).open() as last:
        assert changed_tensors(first, last) == {"embed"}
        assert not same_weights(first, last)


@pytest.mark.parametrize("setting", [{"r": 4}, {"lora_alpha": 8}, {"use_rslora": True}, {"target_modules": ["q"]}])
def test_an_adapters_settings_count(tmp_path, setting):
    a, b = adapter(tmp_path / "a", 1, "base"), adapter(tmp_path / "b", 1, "base", **setting)
    assert read_checkpoint(a, 0).fingerprint().digest != read_checkpoint(b, 0).fingerprint().digest


def test_an_adapters_circumstances_do_not(tmp_path):
    a = adapter(tmp_path / "a", 1, "base", inference_mode=False)
    b = adapter(tmp_path / "b", 1, "/elsewhere/base", inference_mode=True, target_modules=["v", "q"], peft_version="9")
    assert read_checkpoint(a, 0).fingerprint() == read_checkpoint(b, 0).fingerprint()
