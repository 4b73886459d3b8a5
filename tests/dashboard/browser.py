"""A headless Chromium on the dashboard, where there is one: a window of some size, in light or dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
SHOTS = os.environ.get("GATE_TEST_SHOTS")
"""A folder for pictures of what the tests look at; none are taken without it."""
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")


class Window:
    """One browser window on a server."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver, self.address = driver, address

    def shape(self, width: int, height: int, *, dark: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def scripts(self, *, run: bool) -> None:
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not run})

    def open(self, path: str) -> None:
        self.driver.get(f"{self.address}/dashboard{path}")

    def log_in(self, key: str = "key-admin") -> None:
        self.open("/login")
        self.find("#key").send_keys(key)
        self.press("button.primary")

    def find(self, selector: str) -> webdriver.remote.webelement.WebElement:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[webdriver.remote.webelement.WebElement]:
        return list(self.driver.find_elements("css selector", selector))

    def press(self, selector: str) -> None:
        """Clicks what leads to another page, and waits until that is there."""
        page = self.find("html")
        self.find(selector).click()
        self.until(lambda: _gone(page) and self.driver.execute_script("return document.readyState") == "complete")

    def until(self, holds: object) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 10, poll_frequency=0.05).until(lambda _: holds())  # type: ignore[operator]

    def run(self, script: str) -> object:
        return self.driver.execute_script(script)

    def complaints(self) -> list[str]:
        """What the console got, since the last call. A page that is refused or missing is reported there, too."""
        return [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]

    def picture(self, name: str) -> None:
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(Path(SHOTS) / f"{name}.png"))


def _gone(page: webdriver.remote.webelement.WebElement) -> bool:
    from selenium.common.exceptions import WebDriverException

    try:
        page.is_enabled()
    except WebDriverException:  # stale: the page it was of has been left
        return True
    return False


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """A driver that talks to its browser over loopback and loads nothing from elsewhere."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()
