"""The table of commands: name, where its function is, one line of help. To add one, add a row.

The target is ``module:attribute``; the attribute is a function with Typer's annotations, or a ``typer.Typer`` with
commands of its own. Never does: import a command's module.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """``help`` is shown by ``quell --help`` without loading ``target``; ``group`` is the heading it stands under."""

    name: str
    target: str
    help: str
    group: str = "Runbooks"


COMMANDS: tuple[Command, ...] = (
    Command("demo", "quell.cli.demo:demo", "Watch six real faults being repaired, on this machine.", "Start here"),
    Command("lint", "quell.cli.lint:lint", "Find every problem in runbooks, with its place."),
    Command("plan", "quell.cli.plan:plan", "Show what a runbook compiles to: text, JSON or a drawing."),
    Command("runbook", "quell.cli.runbook:runbook", "Start a runbook from a template; list those of a server."),
    Command("route", "quell.cli.route:route", "Show which runbook an alert would be for, and why."),
    Command("run", "quell.cli.run:run", "Run one runbook now, without a server."),
    Command("serve", "quell.cli.serve:serve", "Serve the API and the pages; handle incidents.", "Server"),
    Command("worker", "quell.cli.worker:worker", "Share the work of servers over one PostgreSQL.", "Server"),
    Command("workers", "quell.cli.workers:workers", "Show the processes that share the work.", "Server"),
    Command("doctor", "quell.cli.doctor:doctor", "Prove a configuration before the first incident.", "Server"),
    Command("trigger", "quell.cli.trigger:trigger", "Start a runbook on a running server.", "Server"),
    Command("reload", "quell.cli.loaded:reload", "Read the server's runbooks again.", "Server"),
    Command("pause", "quell.cli.switches:pause", "Stop what acts, until a time or until resumed.", "Guardrails"),
    Command("resume", "quell.cli.switches:resume", "Let what was paused act again.", "Guardrails"),
    Command("pauses", "quell.cli.switches:pauses", "Show what is paused.", "Guardrails"),
    Command("breakers", "quell.cli.switches:breakers", "Show what was repaired how often.", "Guardrails"),
    Command("reset", "quell.cli.switches:reset", "Let a service be repaired again.", "Guardrails"),
    Command("break-glass", "quell.cli.duty:break_glass", "Let no pause or freeze hold one incident up.", "Guardrails"),
    Command("shadow", "quell.cli.duty:shadow", "Compare shadow mode with what people did.", "Guardrails"),
    Command("incidents", "quell.cli.incidents:incidents", "List incidents, show one, follow it.", "Incidents"),
    Command("alerts", "quell.cli.alerts:alerts", "List alerts, show one, and what could not be read.", "Incidents"),
    Command("sources", "quell.cli.sources:sources", "Show when each source was heard, and which is late.", "Incidents"),
    Command("why", "quell.cli.why:why", "Why something happened with an alert or incident.", "Incidents"),
    Command("silence", "quell.cli.quiet:silence", "Keep alerts quiet for a time.", "Incidents"),
    Command("silences", "quell.cli.quiet:silences", "Show what is silenced, and maintenance.", "Incidents"),
    Command("unsilence", "quell.cli.quiet:unsilence", "End a silence.", "Incidents"),
    Command("merge", "quell.cli.regroup:merge", "Let an incident go on in another.", "Incidents"),
    Command("split", "quell.cli.regroup:split", "Make alerts an incident of their own.", "Incidents"),
    Command("approve", "quell.cli.people:approve", "Say yes to an action that waits.", "Incidents"),
    Command("deny", "quell.cli.people:deny", "Say no to an action that waits.", "Incidents"),
    Command("take", "quell.cli.people:take", "Take an incident over.", "Incidents"),
    Command("give-back", "quell.cli.people:give_back", "Give an incident back.", "Incidents"),
    Command("ack", "quell.cli.people:ack", "Say that you have seen it.", "Incidents"),
    Command("resolve", "quell.cli.people:resolve", "Say that an incident is over.", "Incidents"),
    Command("step", "quell.cli.duty:step", "Record what you did by hand.", "Incidents"),
    Command("hand-over", "quell.cli.duty:hand_over", "Hand over at a shift's end.", "Incidents"),
    Command("close", "quell.cli.duty:close", "Close a resolved incident for good.", "Incidents"),
    Command("obligations", "quell.cli.duty:obligations", "Show what is kept for now; end it.", "Incidents"),
    Command("token", "quell.cli.token:token", "Make and revoke tokens; get a link to sign in.", "Access"),
    Command("audit", "quell.cli.audit:audit", "Show that nobody changed the log: verify, export, report.", "Audit"),
    Command("prune", "quell.cli.prune:prune", "Erase what ended long ago; the audit still holds.", "Audit"),
)
