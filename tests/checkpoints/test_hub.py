"""Revisions of a model on the hub: a hub of folders stands in for it, and the cache is huggingface_hub's own."""

import hashlib
import shutil
import socket
from collections import namedtuple
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import errors
from hypothesis import given
from hypothesis import strategies as st
from made_runs import adapter, full, sharded, write_json

from attnshift.checkpoints.hub import cached_snapshot, fetch_model, plan_downloads
from attnshift.checkpoints.revisions import revision_step
from attnshift.checkpoints.run import Run, find_run
from attnshift.checkpoints.tokenizer import tokenizer_dir
from attnshift.errors import AttnshiftError

REPO = "EleutherAI/tiny"


def refused(kind: type[errors.HfHubHTTPError]) -> Exception:
    return kind(
        "404 Client Error. (Request ID: x)", response=SimpleNamespace(headers={}, request=None, status_code=404)
    )


class Hub:
    """What the hub would answer for one model, whose revisions are folders; it counts what it is asked."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        self.asked: list[str] = []
        self.fetched: list[str] = []
        self.error: Exception | None = None
        self.download = huggingface_hub.snapshot_download

    def model_info(self, repo, *, revision, files_metadata):
        assert files_metadata
        self.asked.append(revision)
        if self.error is not None:
            raise self.error
        if repo != REPO:
            raise refused(errors.RepositoryNotFoundError)
        if not (self.folder / revision).is_dir():
            raise refused(errors.RevisionNotFoundError)
        files = [file for file in (self.folder / revision).rglob("*") if file.is_file()]
        names = [(str(file.relative_to(self.folder / revision)), file.stat().st_size) for file in files]
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name, size=size) for name, size in names])

    def snapshot_download(self, repo, *, revision=None, local_files_only=False, allow_patterns=None):
        if local_files_only:
            return self.download(repo, revision=revision, local_files_only=True, allow_patterns=allow_patterns)
        self.fetched.append(revision)
        return str(cached(self.cache, self.folder / revision, revision, allow_patterns))

    def list_repo_refs(self, repo):
        names = sorted(folder.name for folder in self.folder.iterdir())
        return SimpleNamespace(branches=[SimpleNamespace(name=name) for name in names], tags=[])


def cached(cache: Path, source: Path, revision: str, patterns: list[str] | None = None, commit: str = "") -> Path:
    """Put a revision into the cache as huggingface_hub lays it out: a ref, a snapshot of links, blobs."""
    repository = cache / f"models--{REPO.replace('/', '--')}"
    commit = commit or hashlib.sha1(revision.encode()).hexdigest()
    snapshot = repository / "snapshots" / commit
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / revision).write_text(commit)
    for file in filter(Path.is_file, source.iterdir()):
        if patterns is None or any(fnmatch(file.name, pattern) for pattern in patterns):
            blob = repository / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
            blob.parent.mkdir(exist_ok=True)
            snapshot.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, blob)
            if not (snapshot / file.name).is_symlink():
                (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub(tmp_path, cache, monkeypatch) -> Hub:
    made = Hub(tmp_path / "hub", cache)
    for name in ("model_info", "snapshot_download", "list_repo_refs"):
        monkeypatch.setattr(huggingface_hub, name, getattr(made, name))
    for seed, step in enumerate((1000, 3000, 143000)):
        full(made.folder / f"step{step}", seed)
    return made


@pytest.fixture
def no_network(monkeypatch) -> list:
    """Every attempt to reach anything, each of which fails."""
    attempts: list = []

    def connect(*where: object) -> None:
        attempts.append(where)
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    return attempts


def steps(run: Run) -> list[int]:
    return [checkpoint.step for checkpoint in run.checkpoints]


# Names


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step0", 0),
        ("step1000", 1000),
        ("step143000", 143000),
        ("stage2-ingredient1-step11931-tokens100B", 11931),
        ("stage1-step928646-tokens3896B", 928646),
        ("step1000-tokens4B", 1000),
        ("ckpt_356", 356),
        ("global_step2000", 2000),
        ("checkpoint-500", 500),
        ("step-50K-105b", 50000),
        ("main", None),
        ("v1.0", None),
        ("instep5", None),
        ("step", None),
        ("stepone", None),
        ("a" * 40, None),
    ],
)
def test_the_step_of_a_revision(name, step):
    assert revision_step(name) == step


@given(
    st.integers(0, 10**9), st.sampled_from(["", "stage1-", "stage2-ingredient3-"]), st.sampled_from(["", "-tokens9B"])
)
def test_any_step(step, before, behind):
    assert revision_step(f"{before}step{step}{behind}") == step


# From the cache


def test_what_is_cached_needs_no_network(hub, cache, no_network, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for revision in ("step1000", "step3000"):
        cached(cache, hub.folder / revision, revision)
    for name, real in (("model_info", None), ("list_repo_refs", None), ("snapshot_download", hub.download)):
        monkeypatch.setattr(huggingface_hub, name, real)
    run = find_run(REPO, revisions=["step3000", "step1000"])
    assert [(c.step, c.name, c.kind) for c in run.checkpoints] == [
        (1000, "step1000", "full"),
        (3000, "step3000", "full"),
    ]
    assert run.hub == REPO
    assert not no_network
    assert plan_downloads(REPO, ["step1000"])[0].files == ()


def test_shards_in_the_cache(hub, cache):
    sharded(hub.folder / "step5", 5)
    cached(cache, hub.folder / "step5", "step5")
    assert steps(find_run(REPO, revisions=["step5"])) == [5]
    assert not hub.asked


@pytest.mark.parametrize("lost", ["model-00002-of-00002.safetensors", "config.json"])
def test_half_a_download_is_fetched_again(hub, cache, lost):
    sharded(hub.folder / "step5", 5)
    (cached(cache, hub.folder / "step5", "step5") / lost).unlink()
    assert steps(find_run(REPO, revisions=["step5"])) == [5]
    assert hub.fetched == ["step5"]


# Fetched


def test_one_revision_after_the_other(hub):
    told = []
    run = find_run(REPO, revisions=["step1000", "step3000"], tell=told.append)
    assert steps(run) == [1000, 3000]
    assert hub.fetched == ["step1000", "step3000"]
    assert "revision step1000 (1 of 2, 0 MB)" in told[0]
    find_run(REPO, revisions=["step1000", "step3000"])
    assert len(hub.fetched) == 2
    assert all(str(checkpoint.path).startswith(str(hub.cache)) for checkpoint in run.checkpoints)


def test_only_what_is_needed(hub):
    folder = hub.folder / "step1000"
    for name in ("pytorch_model.bin", "tf_model.h5", "consolidated.safetensors", "training_args.bin", "optimizer.pt"):
        (folder / name).write_bytes(b"not needed")
    for name in ("modeling_evil.py", "tokenizer.json", "tokenizer_config.json", "merges.txt", "README.md"):
        (folder / name).write_text("{}")
    (folder / "onnx").mkdir()
    (folder / "onnx/model.safetensors").write_bytes(b"")
    (download,) = plan_downloads(REPO, ["step1000"])
    needed = {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "merges.txt"}
    assert set(download.files) == needed
    assert download.bytes == sum((folder / name).stat().st_size for name in needed)
    run = find_run(REPO, revisions=["step1000"])
    assert {file.name for file in run.checkpoints[0].path.iterdir()} == needed
    assert tokenizer_dir(run) == run.checkpoints[0].path


def test_a_pickle_where_there_are_no_safetensors(hub):
    sharded(hub.folder / "step5", 5, ".bin")
    assert steps(find_run(REPO, revisions=["step5"])) == [5]


def test_adapters_on_the_hub(hub, tmp_path):
    base = full(tmp_path / "base", 0)
    for step in (1, 2):
        adapter(hub.folder / f"step{step}", step, "meta/base")
    run = find_run(REPO, base=str(base), revisions=["step1", "step2"])
    assert [(c.step, c.kind) for c in run.checkpoints] == [(0, "full"), (1, "adapter"), (2, "adapter")]


def test_a_base_by_name_is_fetched_by_the_same_rules(hub):
    shutil.copytree(hub.folder / "step1000", hub.folder / "main")
    (hub.folder / "main/optimizer.bin").write_bytes(b"")
    assert cached_snapshot(REPO) is None
    assert sorted(file.name for file in fetch_model(REPO).iterdir()) == ["config.json", "model.safetensors"]
    assert cached_snapshot(REPO) is not None


# Revisions as a run


def test_main_beside_steps(hub):
    shutil.copytree(hub.folder / "step143000", hub.folder / "main")
    run = find_run(REPO, revisions=["step1000", "step143000", "main"])
    assert steps(run) == [1000, 143000]
    assert run.aliases == {"main": 143000}
    full(hub.folder / "other", 77)
    run = find_run(REPO, revisions=["step1000", "other"])
    assert steps(run) == [1000]
    assert any("revision other is left out" in note for note in run.notes)


def test_main_that_is_a_steps_commit(hub, cache):
    for revision in ("step1000", "main"):
        cached(cache, hub.folder / "step1000", revision, commit="a" * 40)
    run = find_run(REPO, revisions=["main", "step1000"])
    assert steps(run) == [1000]
    assert any("revision main is the commit of another" in note for note in run.notes)


def test_main_alone(hub):
    full(hub.folder / "main", 9)
    run = find_run(REPO, revisions=["main"])
    assert steps(run) == [0]
    assert any("the step of revision main: it is shown as step 0" in note for note in run.notes)


def refusal(revisions: list[str], repo: str = REPO) -> AttnshiftError:
    with pytest.raises(AttnshiftError) as caught:
        find_run(repo, revisions=revisions)
    assert str(caught.value).count("\n") <= 3
    return caught.value


def test_revisions_that_make_no_run(hub, cache):
    for name in ("v1", "v2", "stage1-step1000"):
        full(hub.folder / name, len(name))
    assert "v1, v2" in refusal(["v1", "v2"]).problem
    assert "both step 1000" in refusal(["step1000", "stage1-step1000"]).problem
    for revision in ("step5", "step6"):
        cached(cache, hub.folder / "step1000", revision, commit="b" * 40)
    assert "the same commit" in refusal(["step5", "step6"]).problem
    full(hub.folder / "step7", 0)
    assert "identical weights" in refusal(["step1000", "step7"]).problem


# What the hub doesn't give


def test_an_unknown_revision_names_the_known_ones(hub):
    error = refusal(["step1000", "step2000"])
    assert error.problem == f"{REPO!r} has no revision 'step2000'"
    assert "step1000, step143000, step3000" in error.expected
    assert hub.fetched == []


def test_an_unknown_model(hub):
    assert "knows no model 'nobody/nothing'" in refusal(["step1"], "nobody/nothing").problem


@pytest.mark.parametrize(
    ("error", "problem", "remedy"),
    [
        (refused(errors.GatedRepoError), "is gated", "hf auth login"),
        (errors.OfflineModeIsEnabled("offline"), "not on disk and can't be downloaded: offline", "hf download"),
        (OSError("no route to host"), "can't be downloaded: no route to host", "network"),
        (errors.HFValidationError("bad"), "can't be downloaded: bad", "check the name"),
    ],
)
def test_what_keeps_a_model_away(hub, error, problem, remedy):
    hub.error = error
    told = refusal(["step1000"])
    assert problem in told.problem
    assert remedy in told.remedy


def test_the_network_is_cut(cache, no_network, monkeypatch):
    """Everything real: no cache, nothing to reach, one clear error."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert "not on disk and can't be downloaded" in refusal(["step1000"]).problem
    assert no_network


def test_a_model_without_weights(hub):
    write_json(hub.folder / "step9/config.json", {})
    assert "holds no weights that are read: config.json" in refusal(["step9"]).problem


def test_a_disk_that_is_full(hub, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 10**6))
    assert "0.0 GB free" in refusal(["step1000"]).problem
    assert hub.fetched == []


@pytest.mark.parametrize("name", ["a/b/c", "../x", "/abs", "a b/c", "", "x/..\n"])
def test_names_that_no_model_has(hub, name):
    assert "model" in refusal(["step1"], name).problem or "folder" in refusal(["step1"], name).problem
    assert hub.asked == []


def test_a_folder_has_no_revisions(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    full(tmp_path / "some/model", 0)
    assert "is a folder here" in refusal(["step1"], "some/model").problem


def test_nothing_is_asked_without_revisions(hub):
    with pytest.raises(AttnshiftError, match="doesn't exist"):
        find_run(REPO)
    assert hub.asked == []
