#!/usr/bin/env python3
"""Writes what transformers renders, for tests/loader/chat_template_test.cpp. Needs transformers and jinja2.

  make_template_goldens.py FOLDER                 FOLDER/*.jinja -> FOLDER/goldens.json
  make_template_goldens.py --constructs FILE      fills in "expected" in a list of {"template", "variables"}
"""
import datetime
import json
import pathlib
import sys

import transformers.utils.chat_template_utils as utils

NOW = [2025, 3, 4, 15, 6, 7]


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(*NOW)


TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Look up the weather; it's \"live\" <now>.",
        "parameters": {"type": "object", "properties": {
            "city": {"type": "string", "description": "The city"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
            "days": {"type": "array", "items": {"type": "integer"}, "description": "Which days"},
            "where": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
                      "required": ["lat"]}},
            "required": ["city"]},
        "return": {"type": "string", "description": "A report"}}},
    {"type": "function", "function": {"name": "clock", "description": "The time.",
                                      "parameters": {"type": "object", "properties": {}}}}]


def call(name, arguments, call_id="call00001"):
    return {"type": "function", "id": call_id, "function": {"name": name, "arguments": arguments}}


SYSTEM = {"role": "system", "content": "You are terse."}
USER = {"role": "user", "content": "Hello, who are you?"}
TURNS = [USER, {"role": "assistant", "content": "  A model.\n"}, {"role": "user", "content": "Are you \"sure\"? <b>"}]
UNICODE = [{"role": "user", "content": "Grüße, 世界! 👩‍🚀 \u00a0e\u0301 naïve\n\n"},
           {"role": "assistant", "content": "Ça va — «да»\t½"}, {"role": "user", "content": "ΑΒΓ straße"}]
REASONING = [USER, {"role": "assistant", "reasoning_content": "They ask.\nI answer.", "content": "A model."},
             {"role": "user", "content": "Go on."},
             {"role": "assistant", "content": "<think>\nhm\n</think>\n\nSo be it."}, {"role": "user", "content": "And?"}]
ARGUMENTS = {"city": "Zürich", "days": [1, 2.5, None], "where": {"lat": 47.37, "ok": True}}
CALLS = [USER, {"role": "assistant", "content": "", "tool_calls": [call("get_weather", ARGUMENTS)]},
         {"role": "tool", "tool_call_id": "call00001", "name": "get_weather", "content": "{\"sky\": \"blue\"}"}]
MORE_CALLS = [SYSTEM] + CALLS + [
    {"role": "assistant", "content": "It is fine.",
     "tool_calls": [call("clock", {}, "call00002"), call("get_weather", {"city": "Bern"}, "call00003")]},
    {"role": "tool", "tool_call_id": "call00002", "name": "clock", "content": "12:00"},
    {"role": "tool", "tool_call_id": "call00003", "name": "get_weather", "content": "rain"},
    {"role": "assistant", "reasoning_content": "Done.", "content": "Rain at noon."}, USER]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]}]

CASES = {
    "user": {"messages": [USER]},
    "user, generation prompt": {"messages": [USER], "add_generation_prompt": True},
    "system": {"messages": [SYSTEM, USER], "add_generation_prompt": True},
    "turns": {"messages": TURNS, "add_generation_prompt": True},
    "system, turns, closed": {"messages": [SYSTEM] + TURNS + [{"role": "assistant", "content": "Yes."}]},
    "unicode": {"messages": UNICODE, "add_generation_prompt": True},
    "reasoning": {"messages": REASONING, "add_generation_prompt": True},
    "reasoning off": {"messages": [SYSTEM] + REASONING, "add_generation_prompt": True, "enable_thinking": False,
                      "thinking": False},
    "reasoning on": {"messages": TURNS, "add_generation_prompt": True, "enable_thinking": True, "thinking": True,
                     "reasoning_effort": "high"},
    "tools": {"messages": [SYSTEM, USER], "tools": TOOLS, "add_generation_prompt": True},
    "tools, no system": {"messages": TURNS, "tools": TOOLS, "add_generation_prompt": True},
    "calls": {"messages": CALLS, "tools": TOOLS, "add_generation_prompt": True},
    "more calls": {"messages": MORE_CALLS, "tools": TOOLS, "add_generation_prompt": True},
    "calls, arguments as text": {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [
        call("get_weather", "{\"city\": \"Bern\"}")]}, CALLS[2]], "tools": TOOLS},
    "parts": {"messages": PARTS, "add_generation_prompt": True},
    "developer": {"messages": [{"role": "developer", "content": "Be kind."}, USER], "add_generation_prompt": True},
    "documents": {"messages": [SYSTEM, USER], "documents": [{"title": "A", "text": "Alpha."}], "functions": "[]",
                  "datetime": "today", "date_string": "1 May 2025", "custom_tools": TOOLS, "controls": [],
                  "tools_in_user_message": False, "add_generation_prompt": True},
    "empty": {"messages": []},
}
# What is committed is to stay small.
SHORT = ["user", "system, turns, closed", "unicode", "reasoning", "tools", "more calls", "parts"]


def render(source, variables):
    arguments = json.loads(json.dumps(variables))
    messages = arguments.pop("messages", [])
    try:
        return {"text": utils.render_jinja_template([messages], chat_template=source, **arguments)[0][0]}
    except Exception as error:  # whatever the template does, the test expects an error then
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    utils.datetime = FixedTime
    if len(sys.argv) == 3 and sys.argv[1] == "--constructs":
        path = pathlib.Path(sys.argv[2])
        cases = json.loads(path.read_text(encoding="utf-8"))
        for case in cases:
            case.pop("text", None), case.pop("error", None)
            case.update(render(case["template"], case.get("variables", {})))
        lines = ",\n".join("  " + json.dumps(case, ensure_ascii=False) for case in cases)
        path.write_text("[\n" + lines + "\n]\n", encoding="utf-8")
        return
    short = len(sys.argv) == 3 and sys.argv[2] == "--short"
    folder = pathlib.Path(sys.argv[1])
    cases = {name: {"bos_token": "<s>", "eos_token": "</s>", **case}
             for name, case in CASES.items() if not short or name in SHORT}
    templates = {}
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_bytes().decode("utf-8")
        templates[path.name] = {name: render(source, case) for name, case in cases.items()}
    result = {"cases": cases, "templates": templates}
    (folder / "goldens.json").write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
