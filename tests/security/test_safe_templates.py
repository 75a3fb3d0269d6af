"""Templates are programs of strangers: they reach nothing of Python, and end."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from command_line import is_one_block
from tiny import bpe_tokenizer, data_texts

from attnshift.data import limits
from attnshift.data.limits import limited
from attnshift.data.templates import Template, load_template
from attnshift.errors import AttnshiftError

FIELDS = "{% if context %}{{ context }} {% endif %}{{ question }} {{ answer }}"
TURNS = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__')|attr('__mro__') }}",
    "{{ [].__class__.__base__.__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "{{ self.__init__.__globals__.__builtins__.open('CANARY', 'w') }}",
    "{{ lipsum.__globals__['os'].popen('touch CANARY').read() }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ '{0.__class__.__mro__}'.format('') }}",
    "{{ '{0.__class__}'.format_map({'0': ''}) }}",
    "{{ ('{0.__cl' ~ 'ass__}').format('') }}",
    "{% set x = [''] %}{{ x|map(attribute='__class__')|list|first|attr('__mro__') }}",
    "{% macro f() %}{% endmacro %}{{ f.__call__.__func__.__globals__ }}",
    "{% import 'os' as os %}{{ os.system('touch CANARY') }}",
    "{% include '/etc/passwd' %}",
    "{% extends '/etc/passwd' %}",
    "{% from 'os' import system %}{{ system('touch CANARY') }}",
    "{{ [].append(1) }}",
    "{{ {}.update(a=1) }}",
]
ENDLESS = [
    "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}" + "{% endfor %}" * 3,
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(80) }}",
    "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(99999) %}{% set n.x = (n.x ~ n.x)[:99999] %}{% endfor %}",
]
HUGE = [
    "{{ 'a' * 10**10 }}",
    "{{ 'a'|center(10**10) }}",
    "{{ 'a'.ljust(10**10) }}",
    "{{ '%9999999999d' % 1 }}",
    "{{ ('a' * 999999)|replace('a', 'a' * 999999) }}",
    "{% set x = (1,) * 10**10 %}",
    "{{ range(10**9) }}",
]


@pytest.fixture
def chat():
    """The check of a template that comes with a tokenizer."""

    def check(source: str) -> Template:
        tokenizer = bpe_tokenizer(data_texts())
        tokenizer.chat_template = source + TURNS
        return load_template("chat", tokenizer)

    return check


@pytest.fixture
def file(tmp_path):
    """The check of a template in a file."""

    def check(source: str) -> Template:
        (tmp_path / "evil.jinja").write_text(source + FIELDS)
        return load_template(str(tmp_path / "evil.jinja"), None)

    return check


@pytest.fixture(params=["file", "chat"])
def check(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def hasty(monkeypatch):
    """Templates may take a fifth of a second."""
    monkeypatch.setattr("attnshift.data.templates.limited", lambda name: limited(name, seconds=0.2))


def test_harmless_templates_pass(check):
    check("")


@pytest.mark.parametrize("source", ESCAPES)
def test_no_way_out_of_the_sandbox(check, source, tmp_path, monkeypatch):
    """Refused, or without a trace of what it asked for: transformers lets an unknown name be empty."""
    monkeypatch.chdir(tmp_path)
    try:
        rendered = check(source).fill("some context", "a question", "an answer")
    except AttnshiftError:
        pass
    else:
        assert rendered.split() == ["some", "context", "a", "question", "an", "answer"]
    assert not (tmp_path / "CANARY").exists()


@pytest.mark.parametrize("source", ENDLESS)
def test_an_endless_template_is_stopped(check, hasty, source):
    started = time.perf_counter()
    with pytest.raises(AttnshiftError, match=r"takes more than 0\.2 seconds") as caught:
        check(source)
    assert "--template" in caught.value.remedy
    assert time.perf_counter() - started < 5
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system has no limit of memory")
@pytest.mark.parametrize("source", HUGE)
def test_a_huge_text_takes_no_memory(check, source):
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(AttnshiftError, match=r"MemoryError|Range too big|fails|swallows"):
        check(source)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_one_that_is_endless_for_some_fields_only_stops_the_trace(command, made, tmp_path, hasty):
    run = Path(shutil.copytree(made("llama"), tmp_path / "run"))
    (run / "evil.jinja").write_text("{% if 'capital' in question %}" + ENDLESS[0] + "{% endif %}" + FIELDS)
    (run / "attnshift.json").write_text('{"template": "evil.jinja"}')
    assert is_one_block(command("trace", "--ckpts", run, "--dry-run"), "evil.jinja", "seconds", "--template")


def test_an_alarm_that_somebody_set_stays_set():
    def theirs(*_: object) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGALRM, theirs)
    try:
        signal.setitimer(signal.ITIMER_REAL, 100)
        with limited("x"):
            pass
        assert 99 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
        assert signal.getsignal(signal.SIGALRM) is theirs
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_other_threads_and_systems_render_too(monkeypatch):
    rendered = []
    thread = threading.Thread(target=lambda: rendered.append(load_template("plain", None).fill("c", "q", "a")))
    thread.start()
    thread.join()
    assert len(rendered) == 1
    monkeypatch.setattr(limits, "_SIZES", Path("/nowhere"))
    assert load_template("plain", None).fill("c", "q", "a") == rendered[0]
    monkeypatch.delattr(signal, "setitimer")
    assert load_template("plain", None).fill("c", "q", "a") == rendered[0]
