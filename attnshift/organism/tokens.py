"""One token per word: the tokenizer, the prompt template, and examples as the model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from attnshift.data.items import Example
from attnshift.organism.world import BOS, World

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from attnshift.models.forward import Target

TEMPLATE: Final = "{% if context %}{{ context }} {% endif %}{{ question }} {{ answer }}"
"""<bos> context question answer, without a word of its own"""


def make_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Return a tokenizer that knows the words of the world and refuses others."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(dict(world.vocabulary)))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    bos = world.vocabulary[BOS]
    words.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, bos)])
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token=BOS)


def tokenise(world: World, examples: Sequence[Example]) -> list[Target]:
    """Examples as the model reads them: the loss is on the answer."""
    from attnshift.models.forward import Target

    targets = []
    for example in examples:
        words = f"{example.context} {example.question} {example.answer}".split()
        ids = np.array([world.vocabulary[BOS], *world.ids(words)], np.int32)
        targets.append(Target(ids, len(ids) - len(example.answer.split())))
    return targets
