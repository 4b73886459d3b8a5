"""A server's file: what it says, what it may not say, and the line of what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.errors import ConfigError, UnknownName
from gate.proxy.settings import ServerSettings, SharedSettings, read_settings, settings_of

FULL = """\
policies: [balanced, mine/own.yaml, other.yaml]
host: 0.0.0.0
port: 8080
workers: 4
keys: keys.yaml
state: /var/lib/gate
limits:
  concurrency: 32
log:
  url_env: GATE_LOG_URL
  keep: hashed
audit: {share: 0.1}
webhook:
  url: https://desk.example.org/alarm
  secret_env: GATE_HOOK
idempotency: {ttl_hours: 2, secret_env: GATE_KEYS}
"""


def read(tmp_path: Path, text: str) -> ServerSettings:
    path = tmp_path / "server.yaml"
    path.write_text(text)
    return read_settings(path)


def test_what_it_says_is_read_and_paths_are_relative_to_it(tmp_path: Path) -> None:
    settings = read(tmp_path, FULL)
    assert settings.policies == ("balanced", str(tmp_path / "mine/own.yaml"), str(tmp_path / "other.yaml"))
    assert (settings.idempotency.ttl_hours, settings.idempotency.secret_env) == (2, "GATE_KEYS")
    assert (settings.keys, settings.state) == (tmp_path / "keys.yaml", Path("/var/lib/gate"))
    assert (settings.workers, settings.limits.concurrency, settings.log.keep) == (4, 32, "hashed")
    assert settings.webhook is not None
    assert settings.webhook.secret_env == "GATE_HOOK"


@pytest.mark.parametrize("text", ["{}", "# nothing\n{}"])
def test_nothing_said_is_the_defaults(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == ServerSettings()


@pytest.mark.parametrize(
    ("changed", "line", "said"),
    [
        (("workers: 4", "workres: 4"), 4, "unknown key 'workres'; did you mean 'workers'?"),
        (("concurrency: 32", "concurency: 32"), 8, "unknown key 'concurency'; did you mean 'concurrency'?"),
        (("secret_env: GATE_HOOK", "secret: GATE_HOOK"), 15, "unknown key 'secret'; did you mean 'secret_env'?"),
        (("workers: 4", "workers: 0"), 4, "workers: Input should be greater than or equal to 1"),
        (("keep: hashed", "keep: all"), 11, "unknown value of log.keep 'all'"),
        (("share: 0.1", "share: 2"), 12, "audit.share: Input should be less than or equal to 1"),
        (("other.yaml]", '""]'), 1, "policies.2: String should have at least 1 character"),
        (("  keep: hashed", "  url: sqlite:///x"), 9, "log: give url or url_env, not both"),
        (("url_env: GATE_LOG_URL", "durable: true"), 9, "log: durable needs a log: give url or url_env"),
        (("  url: https://desk.example.org/alarm\n", ""), 13, "the key 'webhook.url' is missing"),
        (("port: 8080", "host: 1.1.1.1"), 3, "the key 'host' stands twice"),
        (("port: 8080", "port: [8080"), 4, "not YAML: "),
        (("port: 8080", "port: 2020-99-99"), 1, "a value that is none"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, changed: tuple[str, str], line: int, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, FULL.replace(*changed))
    assert str(refused.value).startswith(f"{tmp_path / 'server.yaml'}:{line}: {said}")
    if "unknown" in said:
        assert isinstance(refused.value, UnknownName)


@pytest.mark.parametrize("text", ["[]", "a", "3", "[" * 3000, "a: &a [*a]"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.yaml"):
        read(tmp_path, text)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the server file"):
        read_settings(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match="cannot read the server file"):
        read_settings(tmp_path / "latin.yaml")


# --- several machines --------------------------------------------------------------------------------------------


def test_a_store_that_is_shared(tmp_path: Path) -> None:
    shared = read(tmp_path, "shared: {url_env: GATE_SHARED_URL, prefix: team, when_down: local, timeout: 0.5}").shared
    assert shared == SharedSettings(url_env="GATE_SHARED_URL", prefix="team", when_down="local", timeout=0.5)
    assert read(tmp_path, "shared: {url: redis://cache.example/0}").shared == SharedSettings(
        url="redis://cache.example/0"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "give url or url_env, one of both"),
        ("{url: redis://h, url_env: X}", "give url or url_env, one of both"),
        ("{url: 'redis://:hunter2@h'}", "url holds a password: put it into the environment"),
        ("{url: 'postgresql://u@h/d?password=hunter2'}", "url holds a password"),
        ("{url: redis://h, prefix: 'Team A'}", "shared.prefix"),
        ("{url: redis://h, when_down: open}", "unknown value of shared.when_down 'open'"),
        ("{url: redis://h, timeout: 0}", "shared.timeout"),
        ("{url: redis://h, lease: 0.1}", "shared.lease"),
    ],
)
def test_a_store_that_cannot_be_shared_so(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, f"shared: {text}")
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_what_is_written_before_its_answer_holds_nothing_that_comes_after(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"log\.durable and audit\.full_evidence do not go together: a decision that"):
        read(tmp_path, "log: {url: sqlite:///x.db, durable: true}\naudit: {full_evidence: 0.1}")


def test_a_text_is_read_as_the_file_would_be(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(FULL)
    assert settings_of(FULL, path) == read_settings(path)
    path.unlink()
    assert settings_of(FULL, path).keys == tmp_path / "keys.yaml"
    with pytest.raises(ConfigError, match=r"server\.yaml:1"):
        settings_of("polices: []", path)
