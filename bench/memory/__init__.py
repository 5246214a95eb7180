"""How much memory a running `make up` takes."""
