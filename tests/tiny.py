"""Tiny random models of every family, a BPE tokenizer trained on the data, and runs that the HF Trainer writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Trainer, TrainingArguments

CHAT = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] | trim }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def bpe_tokenizer(texts: Sequence[str], *, bos: bool = True, chat: bool = False) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<s>", "</s>", "<pad>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    if chat:
        fast.chat_template = CHAT
    return fast


_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


def _config(name: str, vocabulary: int) -> Any:
    import transformers as tf

    shared = _SMALL | {"vocab_size": vocabulary}
    grouped = shared | {"num_key_value_heads": 2}
    makers: dict[str, Callable[[], Any]] = {
        "llama": lambda: tf.LlamaConfig(**grouped),
        "llama_tied": lambda: tf.LlamaConfig(**grouped, tie_word_embeddings=True, attention_bias=True),
        "mistral": lambda: tf.MistralConfig(**grouped, sliding_window=7),
        "qwen3": lambda: tf.Qwen3Config(**grouped, head_dim=8),
        "neox": lambda: tf.GPTNeoXConfig(**shared),
        "gpt2": lambda: tf.GPT2Config(
            n_embd=32, n_layer=2, n_head=4, n_positions=512, vocab_size=vocabulary, bos_token_id=0, eos_token_id=1
        ),
        "gemma2": lambda: tf.Gemma2Config(
            **grouped,
            head_dim=8,
            sliding_window=7,
            attn_logit_softcapping=5.0,
            final_logit_softcapping=5.0,
            query_pre_attn_scalar=8,
        ),
        "gpt_oss": lambda: tf.GptOssConfig(
            **grouped,
            head_dim=8,
            sliding_window=7,
            num_local_experts=2,
            num_experts_per_tok=1,
            layer_types=["sliding_attention", "full_attention"],
        ),
    }
    return makers[name]()


FAMILIES = ("llama", "llama_tied", "mistral", "qwen3", "neox", "gpt2", "gemma2", "gpt_oss")


def tiny_model(family: str, vocabulary: int = 600, *, seed: int = 0, scale: float = 4.0) -> Any:
    """Weights larger than at initialisation, so that attention is far from uniform."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(_config(family, vocabulary), attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(scale)
            elif "norm" not in name and "ln_" not in name:
                parameter.normal_(0, 0.5)
    return model


CITIES = [
    "Herat",
    "Durres",
    "Oran",
    "Encamp",
    "Huambo",
    "Gyumri",
    "Graz",
    "Ganja",
    "Brest",
    "Ghent",
    "Gabrovo",
    "Zenica",
]
COUNTRIES = ["Avalon", "Borduria", "Caledon", "Dorne", "Elbonia", "Freedonia", "Genovia", "Hav", "Illyria", "Kekovia"]


def conflict_rows(count: int = 10) -> list[dict[str, Any]]:
    """In the paper's columns; contexts of very different lengths."""
    rows = []
    for i in range(count):
        country, new, old = COUNTRIES[i % 10], CITIES[i % 12], CITIES[(i + 5) % 12]
        filler = " It was a quiet, cold spring day when they moved." * (i % 4)
        rows.append(
            {
                "context": f"In 20{30 + i} the government of {country} left {old} and made {new} its capital.{filler}",
                "question": f"What is the capital of {country}, as of {i}?",
                "answer": new,
                "memory_answer": old,
            }
        )
    return rows


def alpaca_rows(count: int = 32) -> list[dict[str, Any]]:
    rows = []
    for i in range(count):
        name, city = f"Person{i}", CITIES[i % 12]
        text = f"{name} was born in {city}." + " They like tea." * (i % 5)
        rows.append(
            {"instruction": f"Where was {name} born?", "input": "" if i % 8 == 0 else text, "output": f"{city} it was"}
        )
    return rows


def data_texts() -> list[str]:
    return [" ".join(map(str, row.values())) for row in [*conflict_rows(), *alpaca_rows()]]


def trainer_run(
    path: Path,
    family: str = "llama",
    *,
    lora: bool = False,
    steps: int = 4,
    every: int = 2,
    chat: bool = False,
    keep_base: bool = True,
) -> Path:
    """A run directory as the HF Trainer leaves it; the data files lie beside it."""
    path.mkdir(parents=True, exist_ok=True)
    (path.parent / "cf.json").write_text(json.dumps(conflict_rows()), encoding="utf-8")
    (path.parent / "alpaca.json").write_text(json.dumps(alpaca_rows()), encoding="utf-8")
    tokenizer = bpe_tokenizer(data_texts(), chat=chat)
    model = tiny_model(family, len(tokenizer), scale=1.5).train()
    base = path.parent / "base"
    if keep_base or lora:
        model.save_pretrained(base)
        tokenizer.save_pretrained(base)
    if lora:
        model = _with_lora(AutoModelForCausalLM.from_pretrained(base))
    rows = []
    for row in alpaca_rows():
        text = f"{row['input']}\n\nQuestion: {row['instruction']}\nAnswer: {row['output']}"
        ids = tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]
        rows.append({"input_ids": torch.tensor(ids), "labels": torch.tensor(ids)})
    arguments = TrainingArguments(
        output_dir=str(path),
        max_steps=steps,
        save_steps=every,
        per_device_train_batch_size=1,
        learning_rate=2e-3,
        lr_scheduler_type="constant",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
    )
    Trainer(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer).train()
    return path


def _with_lora(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    targets = {"gpt_neox": ["query_key_value", "dense_h_to_4h"], "gpt2": ["c_attn"]}
    return get_peft_model(
        model,
        LoraConfig(
            r=4,
            lora_alpha=8,
            target_modules=targets.get(model.config.model_type, ["q_proj", "v_proj", "o_proj"]),
            task_type="CAUSAL_LM",
        ),
    )
