"""Finetuning: what an arm trains on, the trainer, and runs that a trace reads."""
