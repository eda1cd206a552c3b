"""Slack's Block Kit limits as a check: a list of blocks in, a list of problems out. Pure.

Source: the block, element and composition object reference of Slack's documentation. Block types that a
message may hold are known; the insides of the rarer ones (rich_text, video, table) are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAX_BLOCKS = 50
OPAQUE = ("rich_text", "video", "file", "table", "task_card", "plan", "context_actions")
INTERACTIVE = (
    "button",
    "static_select",
    "multi_static_select",
    "users_select",
    "conversations_select",
    "channels_select",
    "external_select",
    "overflow",
    "datepicker",
    "timepicker",
    "datetimepicker",
    "checkboxes",
    "radio_buttons",
    "workflow_button",
)
Found = list[str]


def problems(blocks: list[Any]) -> Found:
    """Every violation with its place, as `blocks/3/text: more than 3000 characters`; empty when valid."""
    found = [f"blocks: no more than {MAX_BLOCKS} items allowed"] if len(blocks) > MAX_BLOCKS else []
    for at, block in enumerate(blocks):
        place = f"blocks/{at}"
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            found.append(f"{place}: not a block")
            continue
        found += _length(block.get("block_id"), 255, f"{place}/block_id")
        if block["type"] in BLOCKS:
            found += BLOCKS[block["type"]](block, place)
        elif block["type"] not in OPAQUE:
            found.append(f"{place}/type: unsupported type: {block['type']}")
    ids = [b["block_id"] for b in blocks if isinstance(b, dict) and "block_id" in b]
    if len(ids) != len(set(ids)):
        found.append("blocks: block_id is not unique")
    return found


def _length(value: Any, limit: int, place: str, *, least: int = 0) -> Found:
    if value is None:
        return []
    if not isinstance(value, str):
        return [f"{place}: must be a string"]
    if len(value) < least:
        return [f"{place}: must be more than {least - 1} characters"]
    return [f"{place}: more than {limit} characters"] if len(value) > limit else []


def _text(value: Any, limit: int, place: str, *, plain: bool = False) -> Found:
    if not isinstance(value, dict):
        return [f"{place}: missing required field"]
    allowed = ("plain_text",) if plain else ("plain_text", "mrkdwn")
    if value.get("type") not in allowed:
        return [f"{place}/type: must be {' or '.join(allowed)}"]
    if "emoji" in value and value["type"] != "plain_text":
        return [f"{place}/emoji: only plain_text may have it"]
    if not isinstance(value.get("text"), str):
        return [f"{place}/text: missing required field"]
    return _length(value["text"], limit, f"{place}/text", least=1)


def _section(block: dict[str, Any], place: str) -> Found:
    found: Found = []
    fields = block.get("fields")
    if "text" in block:
        found += _text(block["text"], 3000, f"{place}/text")
    elif not fields:
        found.append(f"{place}: text or fields is required")
    if fields is not None:
        if not isinstance(fields, list) or not 1 <= len(fields) <= 10:
            return [*found, f"{place}/fields: 1 to 10 items allowed"]
        for at, item in enumerate(fields):
            found += _text(item, 2000, f"{place}/fields/{at}")
    if "accessory" in block:
        found += _element(block["accessory"], f"{place}/accessory", (*INTERACTIVE, "image"))
    return found


def _header(block: dict[str, Any], place: str) -> Found:
    return _text(block.get("text"), 150, f"{place}/text", plain=True)


def _context(block: dict[str, Any], place: str) -> Found:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= 10:
        return [f"{place}/elements: 1 to 10 items allowed"]
    found: Found = []
    for at, element in enumerate(elements):
        here = f"{place}/elements/{at}"
        is_image = isinstance(element, dict) and element.get("type") == "image"
        found += _image(element, here) if is_image else _text(element, 2000, here)
    return found


def _actions(block: dict[str, Any], place: str) -> Found:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= 25:
        return [f"{place}/elements: no more than 25 items allowed"]
    found: Found = []
    for at, element in enumerate(elements):
        found += _element(element, f"{place}/elements/{at}", INTERACTIVE)
    ids = [e.get("action_id") for e in elements if isinstance(e, dict) and "action_id" in e]
    return found + ([f"{place}/elements: action_id is not unique"] if len(ids) != len(set(ids)) else [])


def _element(element: Any, place: str, allowed: tuple[str, ...]) -> Found:
    if not isinstance(element, dict) or element.get("type") not in allowed:
        return [f"{place}/type: unsupported element"]
    if element["type"] == "image":
        return _image(element, place)
    found = _length(element.get("action_id"), 255, f"{place}/action_id", least=1)
    if element["type"] == "button":
        found += _text(element.get("text"), 75, f"{place}/text", plain=True)
        found += _length(element.get("value"), 2000, f"{place}/value")
        found += _length(element.get("url"), 3000, f"{place}/url")
        if element.get("style", "primary") not in ("primary", "danger"):
            found.append(f"{place}/style: must be primary or danger")
    if "confirm" in element:
        found += _confirm(element["confirm"], f"{place}/confirm")
    return found


def _confirm(dialog: Any, place: str) -> Found:
    if not isinstance(dialog, dict):
        return [f"{place}: not an object"]
    found = _text(dialog.get("title"), 100, f"{place}/title", plain=True)
    found += _text(dialog.get("text"), 300, f"{place}/text")
    for name in ("confirm", "deny"):
        found += _text(dialog.get(name), 30, f"{place}/{name}", plain=True)
    return found


def _image(block: Any, place: str) -> Found:
    if not block.get("image_url") and not block.get("slack_file"):
        return [f"{place}/image_url: missing required field"]
    if not block.get("alt_text"):
        return [f"{place}/alt_text: missing required field"]
    found = _length(block.get("image_url"), 3000, f"{place}/image_url")
    return found + _length(block["alt_text"], 2000, f"{place}/alt_text")


def _markdown(block: dict[str, Any], place: str) -> Found:
    if "text" not in block:
        return [f"{place}/text: missing required field"]
    return _length(block["text"], 12000, f"{place}/text", least=1)


def _divider(block: dict[str, Any], place: str) -> Found:
    extra = sorted(set(block) - {"type", "block_id"})
    return [f"{place}: additional property {extra[0]}"] if extra else []


BLOCKS: dict[str, Callable[[dict[str, Any], str], Found]] = {
    "section": _section,
    "header": _header,
    "context": _context,
    "actions": _actions,
    "image": _image,
    "markdown": _markdown,
    "divider": _divider,
}
