"""Fingerprints of weights: cheap ones to compare a whole run, exact comparisons where one is needed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor

from attnshift.checkpoints.tensors import Tensors

WHOLE = 1 << 20
"""Bytes up to which a tensor is hashed whole."""
BLOCK = 1 << 16
"""Bytes of one sampled block of a larger tensor."""
BLOCKS = 16
"""Sampled blocks of a larger tensor."""
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Fingerprint:
    """What `fingerprint` computed: hexadecimal digests of 128 bits."""

    digest: str
    """Of the whole checkpoint."""
    by_tensor: Mapping[str, str]
    """Tensor name to the digest of its name, type, shape and (sampled) content."""


def fingerprint(tensors: Tensors, config: Mapping[str, object] | None = None) -> Fingerprint:
    """Digest the name, type, shape and content of every tensor, and a configuration that changes their function.

    A tensor of up to 1 MiB is hashed whole. Of a larger one 16 evenly spaced blocks of 64 KiB are, the first and the
    last included, so that planning a sweep doesn't read terabytes. Different digests mean different weights. Equal
    digests can miss a change that lies wholly between the blocks of large tensors, such as a few edited rows of an
    embedding; training changes tensors nearly everywhere. `same_weights` and `changed_tensors` miss nothing.
    """
    by_tensor = {name: _digest(name, tensors[name]) for name in tensors.names}
    whole = blake2b(json.dumps([sorted(by_tensor.items()), config], sort_keys=True).encode(), digest_size=16)
    return Fingerprint(whole.hexdigest(), by_tensor)


def same_weights(a: Tensors, b: Tensors) -> bool:
    """Whether two checkpoints hold the same names, types, shapes and bytes; reads everything while they agree."""
    return a.names == b.names and all(_same_bytes(a[name], b[name]) for name in a.names)


def changed_tensors(first: Tensors, last: Tensors) -> frozenset[str]:
    """Names that both checkpoints hold with different content; reads everything that is equal.

    Exact: byte for byte where the types agree, by value where they differ (frozen weights of a bfloat16 base that
    were saved as float32 didn't change). A name that only one of them holds, such as a tied `lm_head.weight` that is
    written by some savers only, is not counted.
    """
    return frozenset(name for name in set(first.names) & set(last.names) if _changed(first[name], last[name]))


def _digest(name: str, tensor: Tensor) -> str:
    header = json.dumps([name, str(tensor.dtype), list(tensor.shape)])
    hashed = blake2b(header.encode(), digest_size=16)
    for block in _sample(_as_bytes(tensor)):
        hashed.update(block.cpu().numpy().data)
    return hashed.hexdigest()


def _as_bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _sample(data: Tensor) -> Iterator[Tensor]:
    if data.numel() <= WHOLE:
        yield data
        return
    last = data.numel() - BLOCK
    for i in range(BLOCKS):
        start = i * last // (BLOCKS - 1)
        yield data[start : start + BLOCK]


def _same_bytes(a: Tensor, b: Tensor) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    first, second = _as_bytes(a), _as_bytes(b)
    # The sampled blocks tell most differences without reading the rest.
    sampled = all(torch.equal(x, y) for x, y in zip(_sample(first), _sample(second), strict=True))
    return sampled and torch.equal(first, second)


def _changed(a: Tensor, b: Tensor) -> bool:
    if a.dtype == b.dtype or a.shape != b.shape or not (a.is_floating_point() and b.is_floating_point()):
        return not _same_bytes(a, b)
    # float64 holds every narrower float exactly; in chunks, because it is up to eight times the size.
    first, second = a.reshape(-1), b.reshape(-1)
    chunks = (slice(start, start + _CHUNK) for start in range(0, first.numel(), _CHUNK))
    return not all(torch.equal(first[chunk].double(), second[chunk].double()) for chunk in chunks)
