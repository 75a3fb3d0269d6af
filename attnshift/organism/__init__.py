"""The model organism: a tiny world, a tiny Llama that learns it, and the data arms that finetune it."""
