"""Machine code finds a folder also where neither the installation nor a home can be written."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from markets import compiled

REPOSITORY = Path(compiled.__file__).parents[1]
USE = """
import os
import features.step_driver
from features.indicators import trend
from regimes.hmm_kernel import filter_rows
print(os.environ["NUMBA_CACHE_DIR"])
"""


def run(script: str, **environment: str) -> str:
    """Run it where numba can keep machine code in a folder that it is told only."""
    given = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    alone = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env=given | alone | environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="modes of folders")
def test_without_a_writable_folder_machine_code_goes_to_one_of_the_users_own(
    tmp_path: Path,
) -> None:
    found = Path(run(USE, TMPDIR=str(tmp_path)))
    assert found == tmp_path / f"perennial-numba-{os.getuid()}"
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
    assert Path(run(USE, TMPDIR=str(tmp_path))) == found, "the same at the next start"


def test_a_folder_that_the_user_named_stays(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    assert run(USE, TMPDIR=str(tmp_path), NUMBA_CACHE_DIR=str(mine)) == str(mine)
    assert not list(tmp_path.glob("perennial-numba-*"))


@pytest.mark.skipif(sys.platform == "win32", reason="links and modes")
@pytest.mark.parametrize("how", ["link", "open to others", "file"])
def test_a_folder_that_others_could_have_filled_is_not_used(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    laid = tmp_path / f"perennial-numba-{os.getuid()}"
    if how == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        laid.symlink_to(tmp_path / "elsewhere")
    elif how == "file":
        laid.write_text("")
    else:
        laid.mkdir()
        laid.chmod(0o777)
    found = compiled._private_folder()
    assert found != laid
    assert found.parent == tmp_path
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
