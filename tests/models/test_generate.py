"""Greedy text up to where it ends, against plain transformers, one prompt at a time and without padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import FAMILIES, bpe_tokenizer, data_texts, tiny_model
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from attnshift.models.generate import TextEnd, generate_greedy

PIECES = (" a", "b\n", "\n", " <", "/s", ">", ".", "\r\n")
EOS = 1
SEVERAL = [*FAMILIES[:1], *(pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES[1:])]


def decode(ids) -> str:
    """A vocabulary in which lines and a spelt-out EOS end all the time."""
    return "".join(PIECES[int(i) % len(PIECES)] for i in ids if int(i) > 2)


TEXT_END = TextEnd(decode, ("</s>",))


class Stop(StoppingCriteria):
    """As anybody would write it, for one row."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __call__(self, input_ids, scores, **_):
        text = decode(input_ids[0, self.start :])
        over = "</s>" in text or any(end in text.lstrip() for end in "\r\n")
        return torch.tensor([over])


def prompts(count: int = 14) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(3, 600, 2 + 3 * (i % 6)).astype(np.int32) for i in range(count)]


def plain(model, prompt: np.ndarray, new_tokens: int) -> list[int]:
    ids = torch.from_numpy(prompt.astype(np.int64))[None]
    config = GenerationConfig(max_new_tokens=new_tokens, do_sample=False, eos_token_id=EOS, pad_token_id=2)
    stop = StoppingCriteriaList([Stop(len(prompt))])
    with torch.no_grad():
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config, stopping_criteria=stop
        )
    written = out[0, len(prompt) :].tolist()
    return written[:-1] if written[-1] == EOS else written


def lively_model(family: str):
    """Without biases, which would have some families repeat one token whatever they read."""
    model = tiny_model(family, scale=10 if family == "llama_tied" else 4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and "norm" not in name and "ln_" not in name:
                parameter.zero_()
    return model


@pytest.mark.parametrize("family", SEVERAL)
def test_texts_end_where_plain_generation_ends_them(family):
    model = lively_model(family)
    expected = [plain(model, prompt, 12) for prompt in prompts()]
    assert len({len(ids) for ids in expected}) > 2  # they end at different places
    assert any(TEXT_END.reached(decode(ids)) for ids in expected)
    for budget in (1, 60, 8192):  # alone, with a few, all padded together
        assert generate_greedy(model, prompts(), 12, {EOS}, budget, TEXT_END) == expected


def test_without_any_eos_rows_still_end():
    model = tiny_model("llama")
    written = generate_greedy(model, prompts(), 12, (), 8192, TEXT_END)
    unstopped = generate_greedy(model, prompts(), 12, (), 8192)
    assert {len(ids) for ids in unstopped} == {12}
    for ids, whole in zip(written, unstopped, strict=True):
        assert whole[: len(ids)] == ids
        assert len(ids) == 12 or TEXT_END.reached(decode(ids))
        assert not TEXT_END.reached(decode(ids[:-1]))
    assert any(len(ids) < 12 for ids in written)


def test_a_batch_is_over_with_its_last_row(monkeypatch):
    model = tiny_model("llama")
    longest = max(len(ids) for ids in generate_greedy(model, prompts(4), 12, {EOS}, 8192, TextEnd(lambda _: "a\n")))
    calls = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    generate_greedy(model, prompts(4), 12, {EOS}, 8192, TextEnd(lambda _: "a\n"))
    assert longest == 1
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("text", "over"),
    [
        ("", False),
        ("\n\n", False),
        ("\n Lyon", False),
        ("\n Lyon\n", True),
        (" Lyon\r\n", True),
        (" Lyon\rParis", True),
        (" Lyon </s", False),
        (" Lyon </s>", True),
        ("</s>", True),
        (" Lyon.", False),
    ],
)
def test_where_a_text_ends(text, over):
    assert TEXT_END.reached(text) is over


def test_only_tokens_that_may_end_a_text_are_looked_at():
    tokenizer = bpe_tokenizer(data_texts())
    end = TextEnd(lambda ids: tokenizer.decode(ids, skip_special_tokens=True), ("</s>",))
    telling = {token for token in range(len(tokenizer)) if end.may_end(token)}
    assert tokenizer.convert_tokens_to_ids("Ċ") in telling
    assert len(telling) < 20
    for text in ("Lyon\n", "Lyon</s" + ">", "a\r"):
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert end.reached(tokenizer.decode(ids))
        assert ids[-1] in telling
