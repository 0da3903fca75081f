"""Rules for the whole suite: where every needed program is installed, a skipped test is a failure."""

from __future__ import annotations

import os
import tempfile

import pytest

# A service that a test starts must not go on with the jobs and keys of whoever develops here.
os.environ.setdefault("PARLEY_JOBS", os.path.join(tempfile.gettempdir(), f"parley-no-jobs-{os.getpid()}"))
os.environ.setdefault("PARLEY_KEY_DATABASE", os.path.join(tempfile.gettempdir(), f"parley-no-keys-{os.getpid()}"))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With PARLEY_SKIPS_FAIL set (CI), no test may be skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if os.environ.get("PARLEY_SKIPS_FAIL") and skipped and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
