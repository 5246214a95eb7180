"""The output contract of a service: recorded prompts, and what a release must make of them."""
