"""On the PYTHONPATH of stand-in images: `huggingface_hub` in small."""
