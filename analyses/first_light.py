"""From nothing to figures: a tiny Llama is finetuned with the HF Trainer on the shipped probe examples and traced.

The model is random at step 0 and knows no capital, so its numbers mean nothing beyond themselves: this shows the way
through the house (run directory, trace, figures) on any laptop, with nothing to download.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import attnshift
from attnshift.console import ProgressLine
from attnshift.data.prompts import Encoder
from attnshift.data.roles import ANSWER
from attnshift.data.shipped import CAPITALS, PROBES
from attnshift.data.templates import load_template

STEPS = (5, 10, 20, 40, 80)


def tokenizer_of(texts: list[str]) -> Any:
    """A byte-level BPE trained on the texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>", "<pad>"]
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def finetune(run: Path) -> None:
    """Write a run directory as the HF Trainer does, with the untrained model as its base."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    examples = attnshift.load_examples(PROBES)
    items = attnshift.load_items(CAPITALS)
    tokenizer = tokenizer_of(
        [e.context + " " + e.question + " " + e.answer for e in examples] + [i.context for i in items]
    )
    encoder = Encoder(tokenizer, load_template("plain", tokenizer))
    rows = []
    for example in examples:
        if example.split == "train":
            tokens = encoder.example(example).sequence
            labels = torch.tensor(
                [int(i) if r == ANSWER else -100 for i, r in zip(tokens.ids, tokens.roles, strict=True)]
            )
            rows.append({"input_ids": torch.tensor(tokens.ids.tolist()), "labels": labels})
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            bos_token_id=0,
            eos_token_id=1,
        )
    )
    for part in (model, tokenizer):
        part.save_pretrained(run / "base")

    class SaveAt(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_save = state.global_step in STEPS

    arguments = TrainingArguments(
        output_dir=str(run),
        max_steps=STEPS[-1],
        save_strategy="no",
        per_device_train_batch_size=1,
        gradient_accumulation_steps=8,
        learning_rate=3e-3,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
    )
    Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer, callbacks=[SaveAt()]).train()
    manifest = {"base": "base", "template": "plain", "max_new_tokens": 8}
    (run / "attnshift.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def main() -> None:
    """Build the run, trace it, draw the figures."""
    from transformers.utils import logging

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    out = parser.parse_args().out
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    shutil.rmtree(out, ignore_errors=True)
    print("finetuning a tiny Llama …", flush=True)
    finetune(out / "run")
    with ProgressLine() as progress:
        trace = attnshift.trace(attnshift.open_series(out / "run"), out=out / "trace", progress=progress)
    for name in ("inversion", "gradients", "margin"):
        attnshift.plot(trace, name, out / f"{name}.html", log_steps=True)
    loss = trace.loss.mean("example").values
    print(f"mean loss {loss[0]:.2f} at step 0, {loss[-1]:.2f} at step {trace.step.values[-1]}")
    print(
        f"trace:   {out / 'trace'}\nfigures: "
        + ", ".join(str(out / f"{n}.html") for n in ("inversion", "gradients", "margin"))
    )


if __name__ == "__main__":
    main()
