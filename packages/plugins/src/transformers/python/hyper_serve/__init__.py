"""The model server behind an endpoint: one model, one process, OpenAI's wire format, no dependency beyond torch, transformers and peft."""
