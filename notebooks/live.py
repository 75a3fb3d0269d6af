# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Live in the Trainer
#
# A model's reliance on its context, watched while the HF Trainer finetunes it. The model is the one that `make demo`
# has pretrained; any causal language model will do, and any trainer built on the HF Trainer, such as TRL's.

# %%
import json
import os
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, default_data_collator

import attnshift

run = Path(os.environ.get("ATTNSHIFT_DEMO", "../demo")) / "run"
model = AutoModelForCausalLM.from_pretrained(run / "base")
tokenizer = AutoTokenizer.from_pretrained(run / "base")

# %% [markdown]
# What it is finetuned on: a context, a question, an answer, and the loss on the answer.

# %%
examples = [json.loads(line) for line in (run / "train.jsonl").read_text().splitlines()[::4]]
ids = [tokenizer(f"{e['context']} {e['question']} {e['answer']}")["input_ids"] for e in examples]
rows = [{"input_ids": torch.tensor(i), "labels": torch.tensor([-100] * (len(i) - 1) + i[-1:])} for i in ids]
print(f"{len(rows)} examples, the first: {tokenizer.decode(ids[0])}")

arguments = TrainingArguments(
    tempfile.mkdtemp(),
    max_steps=128,
    per_device_train_batch_size=64,
    learning_rate=1.5e-3,
    logging_steps=32,
    save_strategy="no",
    report_to="none",
    disable_tqdm=True,
    dataloader_pin_memory=False,
)
# all rows have the same length, so nothing is padded
trainer = Trainer(model, arguments, default_data_collator, rows, processing_class=tokenizer)

# %% [markdown]
# One line more than without: the callback writes a trace while the trainer trains, and logs its means beside the loss,
# to whatever the trainer reports to. The training itself is the same to the last bit.

# %%
shift = attnshift.ShiftCallback(
    items=attnshift.load_items(run / "conflicts.jsonl"),
    examples=attnshift.load_examples(run / "ift.jsonl"),
    template=str(run / "prompt.jinja"),
    target_eos=False,
    max_new_tokens=1,
    limit=60,
    measures=["attention_mass", "margin", "counterfactual_accuracy", "parametric_accuracy", "loss", "gradient_norm"],
).attach(trainer)
trainer.train()

# %%
attnshift.plot(shift.trace(), "inversion", log_steps=True)

# %%
for row in trainer.state.log_history:
    if "shift/context_mass" in row:
        shown = ("counterfactual_accuracy", "parametric_accuracy", "context_mass")
        print(f"step {row['step']:3}", *(f"{name} {row[f'shift/{name}']:.2f}" for name in shown))
