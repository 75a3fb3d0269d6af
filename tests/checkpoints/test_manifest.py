import json
from pathlib import Path

import pytest

from attnshift.checkpoints.manifest import Manifest, read_manifest
from attnshift.checkpoints.safepath import inside
from attnshift.errors import AttnshiftError


def manifest(run: Path, **content: object) -> Manifest:
    (run / "attnshift.json").write_text(json.dumps(content))
    return read_manifest(run)


def test_a_run_without_a_manifest(tmp_path):
    assert read_manifest(tmp_path) == Manifest()


def test_every_field_is_read_and_unknown_keys_are_ignored(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "my.jinja").write_text("{{ question }}")
    read = manifest(
        tmp_path,
        base="base",
        trained=["layers.*"],
        template="my.jinja",
        max_new_tokens=8,
        target_eos=False,
        conflicts="data/conflicts.jsonl",
        ift=["a.jsonl", "b.jsonl"],
        arm="mixed",
        seed=0,
        shares={"critical": 1, "non_critical": 0.5},
        learning_rate={"0": 0, "500": 1e-4},
        someday="something",
    )
    assert read == Manifest(
        base=str(tmp_path / "base"),
        trained=("layers.*",),
        template=str(tmp_path / "my.jinja"),
        max_new_tokens=8,
        target_eos=False,
        conflicts=(tmp_path / "data/conflicts.jsonl",),
        ift=(tmp_path / "a.jsonl", tmp_path / "b.jsonl"),
        arm="mixed",
        seed=0,
        shares={"critical": 1.0, "non_critical": 0.5},
        learning_rate={0: 0.0, 500: 1e-4},
    )


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.2-1B", "gpt2", "/somewhere/that/is/gone"])
def test_a_base_that_is_no_path_of_the_run_is_kept(tmp_path, name):
    assert manifest(tmp_path, base=name).base == name


@pytest.mark.parametrize("name", ["plain", "alpaca", "chat"])
def test_a_template_name_is_kept(tmp_path, name):
    assert manifest(tmp_path, template=name).template == name


@pytest.mark.parametrize("key", ["conflicts", "ift", "template", "base"])
@pytest.mark.parametrize("path", ["../secret", "data/../../secret", "link/secret", "file"])
def test_paths_stay_in_the_run(tmp_path, key, path):
    run, outside = tmp_path / "run", tmp_path / "outside"
    run.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("")
    (run / "link").symlink_to(outside)
    (run / "file").symlink_to(outside / "secret")
    with pytest.raises(AttnshiftError, match="leaves"):
        manifest(run, **{key: path})


@pytest.mark.parametrize("key", ["conflicts", "ift", "template"])
def test_absolute_paths_are_refused_even_into_the_run(tmp_path, key):
    with pytest.raises(AttnshiftError, match="leaves"):
        manifest(tmp_path, **{key: str(tmp_path / "file")})


@pytest.mark.parametrize("path", ["loop/x", "null\0byte", "/etc/passwd", ".."])
def test_impossible_paths_are_refused(tmp_path, path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(AttnshiftError):
        inside(tmp_path, path)


def test_a_run_behind_a_link_is_itself(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    assert inside(tmp_path / "link", "a/../b") == tmp_path / "run/b"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base", 3),
        ("base", ""),
        ("base", "a\0b"),
        ("trained", [1]),
        ("trained", {}),
        ("template", ["plain"]),
        ("max_new_tokens", "8"),
        ("max_new_tokens", 0),
        ("max_new_tokens", True),
        ("target_eos", 1),
        ("conflicts", 5),
        ("ift", [None]),
        ("arm", False),
        ("seed", 1.5),
        ("shares", [1]),
        ("shares", {"critical": "half"}),
        ("shares", {"critical": float("nan")}),
        ("shares", {"critical": 10**400}),
        ("learning_rate", 1e-4),
        ("learning_rate", {"last": 1e-4}),
    ],
)
def test_wrong_types_are_quoted(tmp_path, key, value):
    with pytest.raises(AttnshiftError) as caught:
        manifest(tmp_path, **{key: value})
    assert repr(key) in str(caught.value)
    assert repr(value) in str(caught.value)


def test_null_is_absent(tmp_path):
    assert manifest(tmp_path, base=None, ift=None, shares=None) == Manifest()


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 200_000, "\xff"])
def test_a_damaged_manifest(tmp_path, text):
    (tmp_path / "attnshift.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(AttnshiftError, match=r"attnshift\.json"):
        read_manifest(tmp_path)
