"""Commands against shapes: what a prefix would let through is refused, and what must hold for every command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quell.ports import Command
from quell.respond.commands import Misfit, Read, misfit, read, refused
from quell.respond.shapes import END, ArgumentRule, Shape
from quell.settings import parse_settings

SHAPES = """
- run: kubectl
  args: [get|describe, pods|deployments, '/[a-z0-9-]{1,63}/', ...]
  flags: {-v: , -w: , '-n|--namespace': '/[a-z0-9-]{1,63}/', '-o|--output': json|yaml, '--color=': auto|never}
  most: 12
- run: kubectl
  args: [exec, '/[a-z0-9-]+/', --, df, -P]
  flags: {-n: '/[a-z]+/', -i: , -t: , -c: '/.*/'}
  needs: [-n]
- run: git
  args: [log, '/.*/']
  flags: {-n: '/[0-9]+/', --since=: '/.*/', --oneline: , -c: '/[0-9a-f]+/'}
  flags_after: 1
- run: /opt/ops/rotate
  args: [--, '/.*/', ...]
  flags: {--quick: , -x|--exclude: '/.*/'}
  env: {MODE: fast|slow, TOKEN: 'env:ROTATE_TOKEN'}
  cwd: /srv|/tmp
- run: java
  flags: {-jar: /opt/a.jar, -version: }
- run: psql
  args: ['/.*/']
  flags: {-c: select 1, -d=: '/.*/'}
- run: jq
  args: [{pattern: '.*', raw: true}]
- line: df -P /var | tail -1
"""


def shapes(text: str = SHAPES) -> tuple[Shape, ...]:
    indented = "\n".join(f"  {line}" for line in text.strip().splitlines())
    found = parse_settings(f"guardrails:\n  commands:\n{indented}", "quell.yaml", Path("/srv")).guardrails.commands
    assert found is not None
    return found


ALL = shapes()
PROGRAMS = tuple(shape for shape in ALL if shape.run is not None)


def why(*argv: str, **around: Any) -> Misfit | None:
    return misfit(Command(argv, **around), ALL)


@pytest.mark.parametrize(
    "line",
    [
        "kubectl get pods pay-1",
        "kubectl get pods pay-1 pay-2 pay-3",
        "kubectl -n shop get pods pay-1",
        "kubectl get -nshop pods pay-1 --output=json",
        "kubectl get pods pay-1 --namespace shop -vw -o yaml",
        "kubectl get pods pay-1 -vnshop",
        "kubectl get pods pay-1 -vn shop",
        "kubectl get pods pay-1 --color=never",
        "kubectl exec -it -n shop pay-1 -- df -P",
        "git log HEAD -n 3 --since=-5d --oneline",
        "/opt/ops/rotate --quick -- a b c",
        "/opt/ops/rotate -- -",
        "java -jar /opt/a.jar",
        "java -jar=/opt/a.jar -version",
        "psql -d=shop shop",
        "jq .a|.b",
    ],
)
def test_what_fits(line: str) -> None:
    assert why(*line.split()) is None


@pytest.mark.parametrize(
    ("line", "at", "place", "wrong"),
    [
        # Behind a good beginning.
        ("kubectl get pods pay-1 --kubeconfig=/evil", 4, "the flag", "is unknown"),
        ("kubectl --kubeconfig /evil get pods pay-1", 1, "the flag", "is unknown"),
        ("kubectl get pods pay-1 -A", 4, "the flag", "is unknown"),
        ("kubectl get pods pay-1 -vA", 4, "the flag", "is unknown"),
        ("kubectl get pods pay-1 --as=root", 4, "the flag", "is unknown"),
        ("kubectl get pods pay-1 --names=shop", 4, "the flag", "is unknown"),
        ("kubectl get pods pay-1 ;rm", 4, "argument 4", "holds ';'"),
        ("kubectl delete pods pay-1", 1, "argument 1", "is not that"),
        ("kubectl get secrets pay-1", 2, "argument 2", "is not that"),
        ("kubectl get pods", 3, "argument 3", "is missing"),
        ("kubectl get pods Pay-1", 3, "argument 3", "does not match"),
        ("kubectl get pods pay-1 -o jsonpath", 5, "the value of -o", "is not that"),
        ("kubectl get pods pay-1 -o=json", 4, "the flag", "may be read in two ways"),
        ("kubectl get pods pay-1 -n", 4, "the flag", "lacks its value"),
        ("kubectl get pods pay-1 -n --kubeconfig=/evil", 5, "the value of -n", "begins with '-'"),
        ("kubectl get pods pay-1 -n -v", 5, "the value of -n", "begins with '-'"),
        ("kubectl get pods pay-1 -v=9", 4, "the flag", "is unknown"),
        ("kubectl get pods pay-1 --color auto", 4, "the flag", "is unknown"),
        ("kubectl get pods pay-1 --color=red", 4, "the value of --color", "is not that"),
        ("kubectl get pods pay-1 -- --kubeconfig=/evil", 4, "argument 4", "begins with '-'"),
        ("kubectl get pods a b c d e f g h i j", 12, "word", "is one too many"),
        # Another program behind a separator of the program's own.
        ("kubectl exec -n shop pay-1 -- sh -c id", 6, "argument 4", "is not that"),
        ("kubectl exec -n shop pay-1 df -P", 5, "argument 3", "is not that"),
        ("kubectl exec -n shop pay-1 -- df -P /", 8, "argument 6", "is one too many"),
        ("kubectl exec pay-1 -- df -P", 6, "the flag", "is missing"),
        ("kubectl exec -n shop -c --as=root pay-1 -- df -P", 5, "the value of -c", "begins with '-'"),
        # A flag that means something else in front of the sub-command.
        ("git -c abc log HEAD", 1, "the flag", "stands too early"),
        ("git -ccore.sshCommand=evil log HEAD", 1, "the flag", "stands too early"),
        ("git log --upload-pack=evil HEAD", 2, "the flag", "is unknown"),
        ("git log -- HEAD", 2, "argument 2", "begins with '-'"),
        ("git log --oneline=yes HEAD", 2, "the flag", "takes no value"),
        ("/opt/ops/rotate -- a -x b", 3, "argument 3", "begins with '-'"),
        ("/opt/ops/rotate a", 1, "argument 1", "is not that"),
        ("java -jar /opt/b.jar", 2, "the value of -jar", "is not that"),
        ("java -javaagent:/evil.jar", 1, "the flag", "is unknown"),
        ("java -jarx", 1, "the flag", "is unknown"),
        ("psql -c drop", 2, "the value of -c", "is not that"),
        ("psql -cdrop", 1, "the value of -c", "is not that"),
        ("psql -d shop", 1, "the flag", "is unknown"),
        # Other programs, and the same ones under other names.
        ("find . -exec rm {} +", 0, "the program", "is none that may run"),
        ("env FOO=1 sh -c id", 0, "the program", "is none that may run"),
        ("ssh -oProxyCommand=evil host", 0, "the program", "is none that may run"),
        ("/usr/bin/kubectl get pods pay-1", 0, "the program", "is none that may run"),
        ("./kubectl get pods pay-1", 0, "the program", "is none that may run"),
        ("rotate -- a", 0, "the program", "is none that may run"),
        ("/opt/ops/../ops/rotate -- a", 0, "the program", "is none that may run"),
        ("kube\u0441tl get pods pay-1", 0, "the program", "is none that may run"),
        ("kubectl g\u0435t pods pay-1", 1, "argument 1", "holds U+0435"),
        ("kubectl get pods pay-1 \u2010v", 4, "argument 4", "holds U+2010"),
        ("git log HEAD\uff1bid", 2, "argument 2", "holds U+FF1B"),
    ],
)
def test_what_a_prefix_would_let_through(line: str, at: int, place: str, wrong: str) -> None:
    found = why(*line.split(" "))
    assert found is not None
    assert (found.at, found.place) == (at, place)
    assert wrong in found.wrong
    assert found.says.partition(" (nearest shape")[0].isascii()


@pytest.mark.parametrize("word", ["a\nb", "a\0b", "a;b", "a|b", "a&b", "a>b", "a<b", "`a`", "$(a)", "${a}", "a\rb"])
def test_what_a_shell_would_read_is_refused_whatever_the_pattern(word: str) -> None:
    found = why("git", "log", word)
    assert found is not None
    assert found.wrong.startswith("holds ")
    assert (why("jq", word) is None) is ("\0" not in word and "\n" not in word)


def test_a_shell_line_runs_letter_by_letter_or_not_at_all() -> None:
    assert misfit(Command(line="df -P /var | tail -1"), ALL) is None
    for line in ("df -P /var | tail -1 ", "df -P /var | tail -2", "df  -P /var | tail -1", "kubectl get pods pay-1"):
        found = misfit(Command(line=line), ALL)
        assert found is not None
        assert found.place == "the shell line"
    assert misfit(Command(line="df -P /var | tail -2"), ALL).nearest == "df -P /var | tail -1"  # type: ignore[union-attr]
    assert misfit(Command(("df", "-P", "/var", "|", "tail", "-1")), ALL) is not None
    assert misfit(Command(line="kubectl"), shapes("- {run: kubectl}")) is not None


def test_what_stands_around_the_words_counts_too() -> None:
    rotate = ("/opt/ops/rotate", "--", "a")
    assert why(*rotate, env={"MODE": "fast", "TOKEN": "env:ROTATE_TOKEN"}, cwd="/tmp") is None
    for env in ({"LD_PRELOAD": "/evil.so"}, {"PATH": "/evil"}, {"mode": "fast"}, {"MODE": "warp"},
                {"TOKEN": "env:ADMIN_TOKEN"}, {"MODE": "fast", "IFS": "x"}):  # fmt: skip
        found = why(*rotate, env=env)
        assert found is not None
        assert found.at == len(rotate)
        assert all(value not in found.says.partition("(nearest")[0] for value in env.values() if len(value) > 4)
    assert why(*rotate, cwd="/home") is not None
    assert why("kubectl", "get", "pods", "pay-1", cwd="/tmp") is not None
    assert why("kubectl", "get", "pods", "pay-1", env={"KUBECONFIG": "/evil"}) is not None
    assert misfit(Command(line="df -P /var | tail -1", env={"PATH": "/evil"}), ALL) is not None


def test_a_refusal_tells_the_rule_the_value_the_limit_and_the_nearest() -> None:
    no = refused([Command(("kubectl", "get", "pods", "pay-1", "--namespac=shop"))], ALL)
    assert no is not None
    assert (no.rule, no.value) == ("command", "'--namespac=shop'")
    assert "-n|--namespace" in str(no.limit)
    assert "did you mean '--namespace'?" in str(no)
    assert "nearest shape: kubectl get|describe" in str(no)
    other = refused([Command(("kubect", "get"))], ALL)
    assert other is not None
    assert "did you mean 'kubectl'?" in str(other)


def test_of_several_commands_each_must_fit() -> None:
    good, bad = Command(("kubectl", "get", "pods", "a")), Command(("rm", "-r", "/"))
    assert refused([good, good], ALL) is None
    assert refused([good, bad], ALL) is not None
    assert refused([], ALL) is None
    assert refused([bad], None) is None
    assert refused([good], ()) is not None
    assert refused([Command()], ALL) is not None


# What holds for every command.

SAFE = st.text(st.sampled_from("abcXYZ019-_./=:,@ "), max_size=12)
FORBIDDEN = (";", "|", "&", ">", "<", "`", "$(", "${", "\n", "\r", "\0", "\u2010", "\uff1b")


def _values(rule: ArgumentRule, *, apart: bool) -> st.SearchStrategy[str]:
    """Some that fit; nothing is told of how the rule finds out."""
    some = SAFE | st.sampled_from(["shop", "a", "1", "json", "abc"])
    listed = [st.sampled_from(rule.one_of)] if rule.one_of else []
    if rule.pattern is not None:
        listed.append(some.filter(lambda value: not rule.broken_by(value, apart=apart)))
    return st.one_of(listed)


@st.composite
def _fitting(draw: st.DrawFn, only: tuple[Shape, ...] = PROGRAMS) -> tuple[Shape, tuple[str, ...]]:
    """A shape and a command that was built by it: arguments in order, flags among them in each of their spellings."""
    shape = draw(st.sampled_from(only))
    rules = list(shape.fixed) + ([shape.fixed[-1]] * draw(st.integers(0, 3)) if shape.repeats else [])
    arguments = [(draw(_values(rule, apart=True)),) for rule in rules]
    end = next((at for at, rule in enumerate(rules) if rule.one_of == (END,)), len(rules))
    names = draw(st.lists(st.sampled_from(sorted(shape.spelled)), max_size=3)) if shape.spelled else []
    placed: list[tuple[str, ...]] = list(arguments)
    for name in [*names, *shape.needs]:
        # Counted from the back of what is before the end: earlier insertions move nothing that is to come.
        first, last = shape.flags_after, len(placed) - (len(arguments) - end)
        placed.insert(draw(st.integers(first, last)), _written(draw, shape, name))
    return shape, (shape.run or "", *(word for words in placed for word in words))


def _written(draw: st.DrawFn, shape: Shape, name: str) -> tuple[str, ...]:
    rule = shape.spelled[name].rule
    if rule is None:
        return (name,)
    ways = ["apart", "glued"] if not name.endswith("=") else ["glued"]
    if draw(st.sampled_from(ways)) == "apart":
        return name, draw(_values(rule, apart=True))
    value = draw(_values(rule, apart=False))
    if name.endswith("="):
        return (name + value,)
    if len(name) == 2:
        assume(value and value[0] != "=")
        return (name + value,)
    return (f"{name}={value}",)


def _again(shape: Shape, found: Read) -> tuple[str, ...]:
    """The same command, written plainly: each flag by itself, behind so many arguments as there must be."""
    flags: list[str] = []
    for name, value in found.flags:
        if value is None:
            flags.append(name)
        elif name.endswith("="):
            flags.append(name + value)
        elif len(name) > 2:
            flags.append(f"{name}={value}")
        else:
            flags += [name, value] if not value.startswith("-") or value == "-" else [name + value]
    first = shape.flags_after
    return (shape.run or "", *found.arguments[:first], *flags, *found.arguments[first:])


@given(_fitting())
def test_what_was_built_by_a_shape_fits_it(built: tuple[Shape, tuple[str, ...]]) -> None:
    shape, argv = built
    assert isinstance(read(Command(argv), shape), Read), argv


@given(_fitting())
def test_what_fits_reads_the_same_again(built: tuple[Shape, tuple[str, ...]]) -> None:
    shape, argv = built
    found = read(Command(argv), shape)
    assert isinstance(found, Read)
    assert read(Command(_again(shape, found)), shape) == found


@given(_fitting(tuple(one for one in PROGRAMS if one.run != "jq")), st.sampled_from(FORBIDDEN), st.data())
def test_a_forbidden_character_anywhere_is_refused(
    built: tuple[Shape, tuple[str, ...]], mark: str, data: st.DataObject
) -> None:
    _, argv = built
    number = data.draw(st.integers(0, len(argv) - 1))
    word = argv[number]
    at = data.draw(st.integers(0, len(word)))
    changed = (*argv[:number], word[:at] + mark + word[at:], *argv[number + 1 :])
    assert misfit(Command(changed), ALL) is not None, changed


UNKNOWN = st.sampled_from(
    ["--kubeconfig=/evil", "--evil", "-Z", "-vZ", "-iZ", "-exec", "--upload-pack=x", "--n", "---", "--=x"]
)


@given(_fitting(), UNKNOWN, st.data())
def test_no_unknown_flag_ever_passes(built: tuple[Shape, tuple[str, ...]], flag: str, data: st.DataObject) -> None:
    _, argv = built
    at = data.draw(st.integers(1, len(argv)))
    changed = (*argv[:at], flag, *argv[at:])
    assert misfit(Command(changed), ALL) is not None, changed


@given(
    st.lists(
        SAFE | st.text(max_size=6) | st.sampled_from(["--", "-", "-n", "-it", "-o", "--output=json", "..."]), max_size=8
    )
)
def test_whatever_is_written_is_read_to_an_answer(words: list[str]) -> None:
    """And what fits holds, word for word, nothing that a shell would read; raw says which may."""
    for shape in PROGRAMS:
        found = read(Command((shape.run or "", *words)), shape)
        if isinstance(found, Read):
            assert read(Command(_again(shape, found)), shape) == found
            assert all("\0" not in word for word in words)
            assert shape.run == "jq" or not any(mark in word for word in words for mark in FORBIDDEN)
        else:
            assert 0 < found.at <= len(words) + 1
            assert found.found.isascii()
            assert found.says.isprintable()
