"""One token per word: the tokenizer, the prompt template, and examples as the model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Int

from attnshift.data.items import Example
from attnshift.organism.world import BOS, STOP, World

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEMPLATE: Final = "{% if context %}{{ context }} {% endif %}{{ question }} {{ answer }}"
"""<bos> context question answer, without a word of its own"""

IGNORED: Final = -100


def make_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Return a tokenizer that knows the words of the world and refuses others."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(dict(world.vocabulary)))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    bos = world.vocabulary[BOS]
    words.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, bos)])
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token=BOS)


def tokenise(
    world: World, examples: Sequence[Example]
) -> tuple[Int[np.ndarray, "example position"], Int[np.ndarray, "example position"]]:
    """Ids and labels: the loss is on the answer. Padded on the right with stops that have none."""
    texts = [f"{e.context} {e.question} {e.answer}".split() for e in examples]
    ids = np.full((len(texts), 1 + max(map(len, texts))), world.vocabulary[STOP])
    labels = np.full(ids.shape, IGNORED)
    ids[:, 0] = world.vocabulary[BOS]
    for row, (words, example) in enumerate(zip(texts, examples, strict=True)):
        end = 1 + len(words)
        ids[row, 1:end] = world.ids(words)
        start = end - len(example.answer.split())
        labels[row, start:end] = ids[row, start:end]
    return ids, labels
