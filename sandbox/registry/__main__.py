"""Serve the catalogue of the sandbox: python -m sandbox.registry --port 5601"""

import argparse

from sandbox.registry.content import catalogue
from sandbox.registry.server import Server

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    Server(catalogue(), parser.parse_args().port).serve_forever()
