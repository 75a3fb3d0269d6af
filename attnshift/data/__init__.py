"""Items and examples, their file formats, prompts, a role for every token, critical and non-critical groups."""
