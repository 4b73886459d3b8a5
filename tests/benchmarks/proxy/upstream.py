"""The constant upstream: nginx, one worker, that answers every request with a file.

A chat completion has one choice of twelve tokens, each with five alternatives and their log-probabilities; a request
for five samples gets five such choices. Without the bytes of each token, which OpenAI sends too and nobody here reads,
one choice is about 3 kB of JSON where OpenAI's own would be about 9.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

ANSWER = "Lagos is a large port city in the south west of Nigeria"
SAMPLES = 5
OTHERS = ((" the", 0.5), (" an", 0.25), (" its", 0.15), (" one", 0.05))
"""What each token might have been, and its share of the rest of the probability."""
_CONF = """\
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;{user}
events {{ worker_connections 4096; }}
http {{
  access_log off; default_type application/json; open_file_cache max=16; client_body_buffer_size 64k;
  keepalive_requests 1000000000; keepalive_timeout 1h;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  map $request_body $choices {{ "~\\"n\\": ?{samples}[,}}]" several.json; default chat.json; }}
  upstream files {{ server unix:{folder}/files.sock; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096; root {folder};
    location = /v1/chat/completions {{ error_page 405 =200 /chat.json; return 405; }}
    location = /v1/completions {{ error_page 405 =200 /completion.json; return 405; }}
    location = /several/v1/chat/completions {{
      proxy_pass http://files/; proxy_method GET; proxy_http_version 1.1; proxy_set_header File $choices;
      proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header Connection "";
    }}
  }}
  server {{ listen unix:{folder}/files.sock; root {folder}; location / {{ try_files /$http_file =404; }} }}
}}
"""
"""A file may not be posted to: that refusal is answered with the file. Which one a body asks for is known only once it
has been read, when the headers are made that go to another server: so where that matters, the file comes through nginx
once more."""


def chat_completion(choices: int) -> dict[str, Any]:
    """As a server of OpenAI's dialect would send it."""
    words = ANSWER.split()
    message = {"role": "assistant", "content": ANSWER, "refusal": None}
    logprobs = {"content": [_token(place, word) for place, word in enumerate(words)], "refusal": None}
    return {
        "id": "chatcmpl-constant",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "m",
        "choices": [
            {"index": index, "message": message, "logprobs": logprobs, "finish_reason": "stop"}
            for index in range(choices)
        ],
        "usage": _usage(choices * len(words)),
    }


def _token(place: int, word: str) -> dict[str, Any]:
    """Ever less likely, from 0.99 on."""
    p = 0.99 - 0.01 * place
    listed = [(f" {word}" if place else word, p), *((other, (1 - p) * share) for other, share in OTHERS)]
    entries = [{"token": token, "logprob": round(math.log(q), 4)} for token, q in listed]
    return {**entries[0], "top_logprobs": entries}


def text_completion() -> dict[str, Any]:
    choice = {"index": 0, "text": ANSWER, "logprobs": None, "finish_reason": "stop"}
    made = {"id": "cmpl-constant", "object": "text_completion", "created": 1760000000, "model": "m"}
    return {**made, "choices": [choice], "usage": _usage(len(ANSWER.split()))}


def _usage(completion: int) -> dict[str, int]:
    return {"prompt_tokens": 21, "completion_tokens": completion, "total_tokens": 21 + completion}


def write(folder: Path, port: int) -> Path:
    """The files nginx serves and its settings. Returns the latter's path."""
    for name, reply in (
        ("chat", chat_completion(1)),
        ("several", chat_completion(SAMPLES)),
        ("completion", text_completion()),
    ):
        text = json.dumps(reply, separators=(",", ":"))
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    user = " user root;" if os.geteuid() == 0 else ""  # as anyone else it could not read a folder of root's
    conf = folder / "nginx.conf"
    conf.write_text(_CONF.format(folder=folder, port=port, samples=SAMPLES, user=user), encoding="utf-8")
    return conf
