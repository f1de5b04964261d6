"""The browser fixture opens pages, and a script error on a page fails its test."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Page


@pytest.mark.browser
async def test_a_page_runs_scripts(page: "Page") -> None:
    await page.set_content("<h1>plain</h1><script>document.querySelector('h1').textContent = 'scripted'</script>")
    assert await page.text_content("h1") == "scripted"
