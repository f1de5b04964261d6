"""What the sources of the pages may not contain, what is vendored, and whether the colours can be read."""

import hashlib
import json
import re
from pathlib import Path

import fastapi_events.dashboard

FOLDER = Path(fastapi_events.dashboard.__file__).parent
TEMPLATES = sorted((FOLDER / "templates").rglob("*.html"))
STATIC = FOLDER / "static"
OWN = ["dashboard.js", "theme.js"]


def test_vendored_files_are_what_the_manifest_says() -> None:
    manifest = json.loads((STATIC / "manifest.json").read_text())
    vendored = {path.name for path in STATIC.glob("*.min.*")}
    assert set(manifest) == vendored
    for name, facts in manifest.items():
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == facts["sha256"]
        assert facts["version"] in (STATIC / name).read_text()
        assert "Zero-Clause BSD" in (STATIC / facts["license_file"]).read_text()


def test_templates_trust_nothing_and_carry_no_code() -> None:
    assert len(TEMPLATES) >= 12
    for path in TEMPLATES:
        text = path.read_text()
        for pattern in (
            r"\|\s*safe",
            r"Markup",
            r"autoescape",
            r"\bstyle=",
            r"<style",
            r"\son\w+=",
            r"hx-on",
            r"\bjs:",
            r"//cdn",
        ):
            assert not re.search(pattern, text), (path.name, pattern)
        for script in re.findall(r"<script\b[^>]*>(.*?)</script>", text, re.DOTALL):
            assert script == "", path.name
        for trigger in re.findall(r'hx-trigger="([^"]*)"', text):
            assert "[" not in trigger, "a filter would be evaluated as code"


def test_scripts_do_not_evaluate_or_write_markup() -> None:
    for name in OWN:
        text = (STATIC / name).read_text()
        for pattern in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
            "new Function",
            "document.write",
            "http:",
            "https:",
        ):
            assert pattern not in text, (name, pattern)


def test_nothing_is_fetched_from_elsewhere() -> None:
    for path in [*TEMPLATES, STATIC / "dashboard.css"]:
        assert not re.search(r"(?:src|href|url\()\s*=?\s*[\"'(]?(?:https?:)?//", path.read_text()), path.name


def test_python_reaches_the_library_through_its_facade() -> None:
    allowed = (
        "fastapi_events.api",
        "fastapi_events.dashboard",
        "fastapi_events.errors",
        "fastapi_events.settings",
        "fastapi_events.model",
    )
    for path in FOLDER.rglob("*.py"):
        for module in re.findall(r"^\s*(?:from|import) (fastapi_events[\w.]*)", path.read_text(), re.MULTILINE):
            assert module.startswith(allowed), (path.name, module)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_text_can_be_read_in_both_themes() -> None:
    css = (STATIC / "dashboard.css").read_text()
    tokens = {
        name: (light, dark) for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", css)
    }
    grounds = ["page", "raised", "sunk"]
    for theme in (0, 1):
        for text in ("text", "muted", "accent", "done", "pending", "waiting", "running", "dead"):
            for ground in grounds:
                assert contrast(tokens[text][theme], tokens[ground][theme]) >= 4.5, (text, ground, theme)
        pairs = [("accent", "accent-soft"), ("text", "accent-soft"), ("on-accent", "accent"), ("text", "dead-soft")]
        pairs += [("dead", "dead-soft"), ("muted", "dead-soft"), ("text", "done-soft")]
        for text, ground in pairs:
            assert contrast(tokens[text][theme], tokens[ground][theme]) >= 4.5, (text, ground, theme)
