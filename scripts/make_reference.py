"""Write the generated parts of the docs: from the commands, from the facts about models, from the tables of states.

    python scripts/make_reference.py

tests/docs/test_reference.py fails when a page is not what this would write.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bydawn.adapt.book import load_facts
from bydawn.adapt.efforts import SCALE, Efforts
from bydawn.adapt.fields import Parameter
from bydawn.adapt.patterns import first_match, is_exact
from bydawn.adapt.rules import NearestEffort, Target, ToolsWithoutEffort
from bydawn.adapt.sheet import shipped_sheets
from bydawn.cli.app import COMMANDS, EXIT_CODES, app
from bydawn.cli.errors import BROKEN_PIPE, BUG
from bydawn.core.model import ModelRef
from bydawn.core.states import BATCH, BATCH_STATES, FINAL_BATCH_STATES, JOB, JOB_STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from bydawn.adapt.book import ModelFacts
    from bydawn.adapt.rules import Rule
    from bydawn.adapt.sheet import EffortEntry, Sheet

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table; bars in cells are escaped."""
    head, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (heads, *rows)]
    return [head, "|---" * len(heads) + "|", *body]


def names(words: Iterable[str]) -> str:
    """Write words as code, one after the other."""
    return ", ".join(f"`{word}`" for word in words)


# --- commands ------------------------------------------------------------------------------------------------------

COMMANDS_INTRODUCTION: Final = """\
# Commands

<!-- Written by scripts/make_reference.py from the commands themselves; do not edit. -->

Sentences for people go to standard error, data goes to standard output: results, and with `--json` records. `JOB` is a
job's id, a unique beginning of it, or `last`. With `--json`, commands that work on a job print one event a line
(`planning`, `adjustment`, `notice`, `batch`, `progress`) and `summary` last; where the results themselves go to
standard output, these go to standard error. An error is one object, too: `{"event": "error", "type": …, "message": …,
"hint": …, "exit_code": …}`.
"""


def commands_page() -> str:
    """Return the page of all commands."""
    root = click.Context(app, info_name="bydawn")
    commands = [app.get_command(root, name) for name in COMMANDS]
    parts = [COMMANDS_INTRODUCTION, *(section(command, root) for command in commands if command), exit_codes()]
    return "\n".join(parts)


def section(command: click.Command, root: click.Context) -> str:
    """Return what is said of one command."""
    context = click.Context(command, info_name=command.name, parent=root)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"## bydawn {command.name}", "", "```", f"bydawn {command.name} {usage}", "```", "", *description(command)]
    return "\n".join([*lines, "", *table(["option", "meaning"], options(command, context)), ""])


def description(command: click.Command) -> Iterator[str]:
    """Yield the help text; paragraphs that must not be wrapped become code."""
    for number, paragraph in enumerate(inspect.cleandoc(command.help or "").split("\n\n")):
        if number:
            yield ""
        if paragraph.startswith("\b\n"):
            yield from ("```", *(line.strip() for line in paragraph.split("\n")[2:]), "```")
        else:
            yield paragraph


def options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield each option and its meaning."""
    for parameter in command.params:
        shown = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if shown:
            yield f"`{shown[0]}`", shown[1]


def exit_codes() -> str:
    """Return the table of exit codes, from the text that ``bydawn --help`` ends with."""
    rows = [line.split(maxsplit=1) for line in EXIT_CODES.split("\n")[2:]]
    more = [
        [str(BUG), "an error that bydawn did not foresee: a bug"],
        [str(BROKEN_PIPE), "the reader of its output went away"],
    ]
    return "\n".join(["## Exit codes", "", *table(["code", "meaning"], [*rows, *more]), ""])


# --- models --------------------------------------------------------------------------------------------------------

MODELS_INTRODUCTION: Final = """\
# What is known of models

<!-- Written by scripts/make_reference.py from src/bydawn/adapt/facts/*.toml; do not edit. -->

These facts ship with bydawn and decide how requests are fitted to models; [model adaptation](../model-adaptation.md)
says how. `bydawn models PATTERN` shows them with your own `bydawn.toml` laid over them, and today's prices.

Certainty is one of three words. *confirmed*: by a type, an official document or recorded traffic. *reported*: by
issues, forums or other projects. *inferred*: by us. Facts age; where one is wrong, the provider's answer counts, and
nothing here refuses a request. The keys under "source" are spelled out at the end of each provider's section.
"""


def models_page() -> str:
    """Return the page of all facts about models."""
    facts = load_facts()
    parts = [MODELS_INTRODUCTION]
    for provider, sheet in sorted(shipped_sheets().items()):
        listed = [model for model in facts.models() if model.ref.provider == provider]
        parts += [f"## {provider}", "", f"Compared with the provider's word on {sheet.checked}.", ""]
        parts += ["### Models", "", *listed_models(listed, sheet), ""]
        parts += ["### Names that are not listed", "", *families(sheet), ""]
        parts += ["### Reasoning efforts", "", *efforts(sheet), ""]
        parts += ["### Rules", "", *rules(sheet), ""]
        parts += ["### Sources", "", *table(["key", "where"], ([f"`{k}`", v] for k, v in sheet.sources.items())), ""]
    return "\n".join(parts)


def listed_models(listed: Sequence[ModelFacts], sheet: Sheet) -> list[str]:
    """Return the table of the models that facts name, in the order of their names."""
    heads = ["model", "for", "endpoints", "batch", "announced end", "replacement", "certainty", "source"]
    return table(heads, (_listed(facts, sheet) for facts in sorted(listed, key=lambda facts: facts.ref.name)))


def _listed(facts: ModelFacts, sheet: Sheet) -> list[str]:
    entries = [entry for entry in sheet.model if first_match(entry.match, facts.ref.name)]
    return [
        f"`{facts.ref}`",
        facts.kind,
        ", ".join(facts.endpoints) or "none",
        _yes_or_no(facts.batch),
        str(facts.shutdown or ""),
        f"`{facts.replacement}`" if facts.replacement else "",
        facts.certainty,
        ", ".join(dict.fromkeys(key for entry in entries for key in entry.sources)),
    ]


def _yes_or_no(known: bool | None) -> str:
    return {True: "yes", False: "no", None: "not known"}[known]


def families(sheet: Sheet) -> list[str]:
    """Return the tables of patterns, for names that no table lists; the first that states a field counts."""
    entries = [entry for entry in sheet.model if not all(map(is_exact, entry.match))]
    rows = (
        [
            names(entry.match),
            entry.kind or "",
            "" if entry.endpoints is None else ", ".join(entry.endpoints) or "none",
            "" if entry.batch is None else _yes_or_no(entry.batch),
            str(entry.shutdown or ""),
            entry.certainty,
            ", ".join(entry.sources),
        ]
        for entry in entries
    )
    heads = ["names", "for", "endpoints", "batch", "announced end", "certainty", "source"]
    words = "Each fact is taken from the first line that fits the name and states it. Any other name passes untouched."
    return [words, "", *table(heads, rows)]


def efforts(sheet: Sheet) -> list[str]:
    """Return the table of accepted reasoning efforts."""
    heads = ["models", "efforts", "default", "certainty", "source"]
    return table(heads, (_effort(entry) for entry in sheet.effort))


def _effort(entry: EffortEntry) -> list[str]:
    accepted = ", ".join(entry.values)
    if entry.responses is not None:
        accepted += f"; on responses {', '.join(entry.responses)}"
    return [names(entry.models), accepted, entry.default or "", entry.certainty, ", ".join(entry.sources)]


def rules(sheet: Sheet) -> list[str]:
    """Return the table of parameter rules, in the order in which they are applied."""
    heads = ["rule", "models", "endpoints", "what is done", "because", "certainty", "source"]
    return ["Applied in this order.", "", *table(heads, (_rule(rule) for rule in sheet.rule))]


def _rule(rule: Rule) -> list[str]:
    but_not = f", but not {names(rule.but_not)}" if rule.but_not else ""
    everyone = "all" if rule.unlisted_models else "all known"
    return [
        f"`{rule.name}`",
        (everyone if rule.models == ("*",) else names(rule.models)) + but_not,
        ", ".join(rule.endpoints),
        _done_by(rule),
        rule.why.replace("{model}", "the model"),
        rule.certainty,
        ", ".join(rule.sources),
    ]


def _done_by(rule: Rule) -> str:
    """Say what a rule does, whatever model it meets."""
    if isinstance(rule, NearestEffort):
        return "an effort that is not accepted becomes the nearest that is, of two as near the higher"
    if isinstance(rule, ToolsWithoutEffort):
        return "with `tools` and an effort other than none: sent to responses; where chat is insisted on, effort none"
    any_model = Target(ModelRef("any", "any"), rule.endpoints[0], Efforts(Parameter("reasoning_effort"), SCALE), {})
    by_effect: dict[str, list[str]] = {}
    for parameter, effect in rule.rows(any_model):
        by_effect.setdefault(effect, []).append(parameter)
    return "; ".join(f"{names(parameters)} {effect}" for effect, parameters in by_effect.items())


# --- states --------------------------------------------------------------------------------------------------------

HOUSE_PAGE: Final = DOCS / "how-it-works.md"
BEGIN: Final = "<!-- Written by scripts/make_reference.py from src/bydawn/core/states.py; do not edit. -->"
END: Final = "<!-- End of what is written by the script. -->"

BATCH_EVENTS: Final = {
    "send": "the intent to create it is committed; the create is about to go out",
    "accepted": "the provider answered with its id",
    "not_sent": "the create surely had no effect; it may be sent again",
    "lost": "no clear answer came, or the process died: the create may have had an effect",
    "adopted": "it was found at the provider",
    "absent": "it was looked for long enough and is not there; it may be sent again",
    "refuse": "the provider refused it before any row ran; its good rows return to planning",
    "cancel": "the user cancelled the job, and the provider was asked to cancel the batch",
    "end": "the provider says that it is over",
    "collect": "its results were fetched and every row has its outcome",
    "withdraw": "the job was cancelled before it was sent",
}
JOB_EVENTS: Final = {
    "planned": "the whole input is valid and its batches are on disk",
    "pause": "the key is refused, or there is no money",
    "resume": "somebody ran the command again",
    "finish": "every row has its result",
    "cancel": "the user cancelled it; what its batches finish is still collected",
    "retry": "the user asked for the failed rows to be sent again",
}


def states_block() -> str:
    """Return the diagrams and tables of states, with the marks around them."""
    parts = [BEGIN, "", "A batch:", "", *machine(BATCH, BATCH_STATES, FINAL_BATCH_STATES, BATCH_EVENTS)]
    parts += ["", "A job:", "", *machine(JOB, JOB_STATES, frozenset(), JOB_EVENTS), "", END]
    return "\n".join(parts)


def machine(
    moves: Mapping[tuple[str, str], str], states: Sequence[str], final: frozenset[str], events: Mapping[str, str]
) -> list[str]:
    """Return one state machine as a diagram and a table."""
    diagram = ["```mermaid", "stateDiagram-v2", f"    [*] --> {states[0]}"]
    diagram += [f"    {state} --> {after}: {event}" for (state, event), after in moves.items()]
    diagram += [f"    {state} --> [*]" for state in states if state in final]
    rows = ([f"`{event}`", _moves(moves, event), events[event]] for event in dict.fromkeys(event for _, event in moves))
    return [*diagram, "```", "", *table(["event", "from → to", "when"], rows)]


def _moves(moves: Mapping[tuple[str, str], str], event: str) -> str:
    found = [(state, after) for (state, name), after in moves.items() if name == event]
    return ", ".join(f"{state} → {after}" for state, after in found)


def house_page() -> str:
    """Return docs/how-it-works.md with its generated block renewed."""
    before, _, rest = HOUSE_PAGE.read_text("utf-8").partition(BEGIN)
    return before + states_block() + rest.partition(END)[2]


# --- all of it -----------------------------------------------------------------------------------------------------

PAGES: Final[Mapping[Path, Callable[[], str]]] = {
    DOCS / "reference" / "commands.md": commands_page,
    DOCS / "reference" / "models.md": models_page,
    HOUSE_PAGE: house_page,
}
"""Each page that is generated, wholly or in part, and what makes it."""

if __name__ == "__main__":
    for path, page in PAGES.items():
        text = page()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
