"""Patches against TransformerLens, against forwards without a cache, and against what they must be by construction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_contrasts import made_contrasts
from tiny import FAMILIES, tiny_model

from attnshift.data.roles import ANSWER, TOKEN_ROLES
from attnshift.errors import AttnshiftError
from attnshift.interventions.cells import ALL, LAST, Cell, Grid, read_axes, read_parts, token_sets, tokens_of
from attnshift.interventions.controls import Controls, no_op_cells, stream_cell, writers_cell
from attnshift.interventions.patched import Target, Writer, catch, read_out
from attnshift.interventions.sites import PARTS, Site, has_middle
from attnshift.models.anatomy import anatomy
from attnshift.models.bridge import bridge_of
from attnshift.models.contrast import Contrast, answer_margins
from attnshift.models.generate import generate_greedy

ROLES = [role for role in TOKEN_ROLES if role not in ("pad", "answer")]


def sites_of(model):
    middle = has_middle(model, anatomy(model))
    return {Site(part, layer) for part in PARTS for layer in range(2) if middle or part != "resid_mid"}


def target_of(model, budget=200):
    return Target(model, anatomy(model), budget)


def margins_of(model, contrasts):
    with torch.no_grad():
        return answer_margins(model, contrasts)[0].double().numpy()


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request):
    return tiny_model(request.param, seed=0), tiny_model(request.param, seed=1)


def test_own_activations_change_nothing_and_all_of_the_sources_give_its_margin(pair):
    source, target = pair
    contrasts, layers = made_contrasts(), 2
    own = catch(target, anatomy(target), contrasts, sites_of(target))
    given = catch(source, anatomy(source), contrasts, sites_of(source))
    cells = no_op_cells(layers, has_middle(target, anatomy(target)))
    clean, wanted = margins_of(target, contrasts), margins_of(source, contrasts)
    assert np.abs(target_of(target).margins(contrasts, own, cells) - clean).max() <= 1e-5
    for cell in (stream_cell(layers), writers_cell(layers)):
        final = target_of(target).patched_rows(contrasts, given, cell)
        np.testing.assert_allclose(read_out(source, anatomy(source), final, contrasts), wanted, atol=1e-5)
    rows, margins = target_of(target).clean_rows(contrasts)
    np.testing.assert_allclose(margins, clean, atol=1e-6)
    np.testing.assert_allclose(read_out(target, anatomy(target), rows, contrasts), clean, atol=1e-5)
    assert np.abs(wanted - clean).min() > 1e-2


def test_batches_of_cells_and_items_change_nothing(pair):
    source, target = pair
    contrasts = made_contrasts((4, 11))
    given = catch(source, anatomy(source), contrasts, sites_of(source))
    grid = Grid(("resid_pre", "attn", "mlp", "z"), ((1,),), token_sets(contrasts, True))
    together, apart = target_of(target, 2000), target_of(target, 1)
    cells = list(grid)
    wide, narrow = (one.margins(contrasts, given, cells) for one in (together, apart))
    np.testing.assert_allclose(wide, narrow, atol=3e-5)
    assert apart.cost.forwards == apart.cost.sequences == together.cost.sequences
    assert together.cost.forwards < 0.1 * together.cost.sequences
    lacking = np.array([[not tokens_of(c, cell.tokens).any() for c in contrasts] for cell in cells])
    np.testing.assert_array_equal(np.isnan(wide), lacking)


# The bridge's hook_resid_mid is the input of the norm before the MLP, which the stream passes by: the middle is made of
# what enters the layer and what attention adds.
HOOKS = {
    "resid_pre": "blocks.{}.hook_resid_pre",
    "resid_mid": "blocks.{}.hook_attn_out",
    "resid_post": "blocks.{}.hook_resid_post",
    "attn": "blocks.{}.hook_attn_out",
    "mlp": "blocks.{}.hook_mlp_out",
    "z": "blocks.{}.attn.hook_z",
}


@pytest.mark.parametrize("family", ["llama", "neox", "gpt2", pytest.param("qwen3", marks=pytest.mark.slow)])
def test_equals_transformer_lens(family):
    """Every part, layer and set of tokens, and single heads: the bridge's hooks with the source's cache."""
    source, target = tiny_model(family, seed=0), tiny_model(family, seed=1)
    contrast = made_contrasts((7,), seed=2)[0]
    given = catch(source, anatomy(source), [contrast], sites_of(source))
    ids = torch.from_numpy(contrast.ids.astype(np.int64))[None]
    with torch.no_grad():
        _, cache = bridge_of(source).run_with_cache(ids)
    bridge = bridge_of(target)
    middle = has_middle(target, anatomy(target))
    assert middle == (family != "neox")
    parts = read_parts(["resid", "attn", "mlp", "z"], middle)
    cells = list(Grid(parts, ((0,), (0, 1)), token_sets([contrast], True)))
    cells += list(Grid(("z",), ((0,), (1,)), (ALL, LAST), (0, 3)))
    found = target_of(target).margins([contrast], given, cells)[:, 0]
    for cell, got in zip(cells, found, strict=True):
        at, entering = torch.from_numpy(tokens_of(contrast, cell.tokens)), {}

        def see(value, hook, entering=entering):
            entering[hook.name.split(".")[1]] = value

        def put(value, hook, at=at, head=cell.head, entering=entering, middle=cell.sites[0].part == "resid_mid"):
            theirs = cache[hook.name].reshape(value.shape)
            if middle:
                layer = hook.name.split(".")[1]
                theirs = cache[f"blocks.{layer}.hook_resid_pre"] + theirs - entering[layer]
            value = value.clone()
            if head is None:
                value[:, at] = theirs[:, at]
            else:
                split, other = value.view(1, len(at), 4, 8), theirs.reshape(1, len(at), 4, 8)
                split[:, at, head] = other[:, at, head]
            return value

        hooks = [(f"blocks.{site.layer}.hook_resid_pre", see) for site in cell.sites]
        hooks += [(HOOKS[site.part].format(site.layer), put) for site in cell.sites]
        with torch.no_grad():
            logits = bridge.run_with_hooks(ids, fwd_hooks=hooks)[0, -1]
        expected = float(logits[contrast.context] - logits[contrast.parametric])
        np.testing.assert_allclose(got, expected, atol=1e-4, err_msg=str(cell))


@pytest.mark.parametrize("family", ["llama", "neox", "gpt_oss"])
def test_generation_is_patched_in_the_prompt_alone(family):
    """As without a cache: each token from a forward of all before it, the prompt's activations replaced in each."""
    source, target = tiny_model(family, seed=0), tiny_model(family, seed=1)
    contrasts = made_contrasts((4, 9, 14))
    prompts = [contrast.ids for contrast in contrasts]
    given = catch(source, anatomy(source), contrasts, sites_of(source))
    cells = [Cell((Site("resid_pre", 1),), ALL), Cell((Site("z", 0),), LAST), Cell((Site("mlp", 0),), "question")]
    writer = Writer(lambda asked, budget: generate_greedy(target, asked, 4, (), budget), 4)
    written = target_of(target, 60).continuations(contrasts, prompts, given, cells, writer)
    changed = 0
    for (c, i), ids in written.items():
        kept, contrast = [], contrasts[i]
        for n in range(4):
            grown = np.concatenate([contrast.ids, np.array(kept, np.int32)])
            roles = np.concatenate([contrast.roles, np.full(n, 1, np.int8)])  # template: in none of the cells
            cell = cells[c]
            longer = Contrast(grown, roles, 5, 6)
            mask = np.concatenate([tokens_of(contrast, cell.tokens), np.zeros(n, bool)])
            kept.append(greedy_token(target, given, longer, cell, i, mask))
        assert ids == kept
        changed += kept != plain(target, contrast.ids)
    assert changed >= 2


def greedy_token(target, given, contrast, cell, item, mask):
    site = cell.sites[0]
    block = anatomy(target).blocks[site.layer]
    at = torch.from_numpy(np.flatnonzero(mask))

    def put(hidden):
        hidden = hidden.clone()
        hidden[0, at] = given.values[site][item, at]
        return hidden

    if site.part == "mlp":

        def behind(module, args, output):
            return (put(output[0]), *output[1:]) if isinstance(output, tuple) else put(output)

        hook = block.mlp_out.register_forward_hook(behind)
    else:
        module = block.module if site.part == "resid_pre" else block.projection
        hook = module.register_forward_pre_hook(lambda module, args: (put(args[0]), *args[1:]))
    try:
        with torch.no_grad():
            return int(target(torch.from_numpy(contrast.ids.astype(np.int64))[None]).logits[0, -1].argmax())
    finally:
        hook.remove()


def plain(model, prompt):
    with torch.no_grad():
        for _ in range(4):
            logits = model(torch.from_numpy(np.asarray(prompt, np.int64))[None]).logits[0, -1]
            prompt = np.append(prompt, int(logits.argmax()))
    return prompt[-4:].tolist()


def test_sets_of_tokens():
    roles = np.array([0, 1, 2, 3, 5, 1, ANSWER, ANSWER], np.int8)
    contrast = Contrast(np.arange(8, dtype=np.int32), roles, 8, 9)
    assert tokens_of(contrast, "template").tolist() == [False, True, False, False, False, True, False, False]
    assert tokens_of(contrast, LAST).tolist() == [False] * 5 + [True] * 3
    assert tokens_of(contrast, ALL).all()
    assert token_sets([contrast], True) == (
        "bos",
        "template",
        "context",
        "context_answer",
        "question",
        "answer",
        LAST,
        ALL,
    )
    assert token_sets([contrast], False) == (ALL,)


def test_what_cannot_be_asked_for_is_refused():
    with pytest.raises(AttnshiftError, match="no part 'heads'"):
        read_parts(["heads"], True)
    with pytest.raises(AttnshiftError, match="no resid_mid"):
        read_parts(["resid_mid"], False)
    with pytest.raises(AttnshiftError, match="no part is named"):
        read_parts([], True)
    with pytest.raises(AttnshiftError, match="'token'"):
        read_axes(["layer", "token"])
    assert read_parts(["resid", "resid_pre"], False) == ("resid_pre", "resid_post")


def test_a_control_that_fails_is_told():
    controls = Controls()
    controls.see("no_op", np.array([1e-6, -3e-2]))
    with pytest.raises(AttnshiftError, match=r"no_op deviates by 0\.03 nats"):
        controls.require(np.array([2.0]), [torch.float32])
    Controls(clean=1e-6).require(np.array([2.0]), [torch.float32])
