"""The child process that serves one file of weights on loopback, and ends when its standard input does.

It is run as a file, needs nothing but `xllamacpp`, and talks to `jisi_cli.models.local` through its
standard streams: the API key comes in as the first line, the port goes out as the only line, and
llama.cpp's log goes to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import xllamacpp

_ERRORS_ONLY = 1


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until standard input ends."""
    arguments = _parser().parse_args(argv)
    # Whatever llama.cpp prints must not be read as the port.
    ready = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    api_key = sys.stdin.readline().strip()
    server = _serve(arguments, api_key)
    ready.write(f"{urlsplit(server.listening_address).port}\n")
    ready.close()
    # The parent says nothing after the key, and the system closes the pipe however the parent ends. Loading
    # holds the interpreter, so a thread that watches meanwhile would see the end no sooner.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)  # without waiting for an answer that has no reader any more


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Serve a .gguf file over OpenAI's API on loopback.")
    parser.add_argument("--weights", required=True, help="path of the .gguf file")
    parser.add_argument("--name", required=True, help="what answers call the model")
    parser.add_argument("--threads", type=int, required=True, help="threads that compute")
    parser.add_argument("--context", type=int, required=True, help="tokens of prompt and response together")
    parser.add_argument("--max-tokens", type=int, required=True, help="tokens of a response that sets no limit")
    parser.add_argument("--chat-template", default="", help="Jinja template instead of the file's own")
    return parser


def _serve(arguments: argparse.Namespace, api_key: str) -> xllamacpp.Server:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = arguments.weights
    params.model_alias = {arguments.name}
    params.chat_template = arguments.chat_template
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [api_key]
    params.ui = False
    params.endpoint_slots = False
    params.offline = True
    params.verbosity = _ERRORS_ONLY
    params.n_ctx = arguments.context
    params.n_predict = arguments.max_tokens
    params.cpuparams.n_threads = arguments.threads
    params.cpuparams_batch.n_threads = arguments.threads
    # One conversation at a time and nothing kept of the last one: floating point sums depend on how a
    # prompt is cut into batches, and an answer must depend on its own request only.
    params.n_parallel = 1
    params.cache_prompt = False
    params.cache_ram_mib = 0
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
