"""Lets this environment see another one's packages after its own: `share_packages.py VENV`."""

import site
import sys
import sysconfig
from pathlib import Path


def main() -> None:
    """Writes a .pth file into this environment's site-packages."""
    own = Path(site.getsitepackages()[0])
    relative = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    shared = (Path(sys.argv[1]) / relative).resolve()
    # addsitedir, because a plain path would not read the other one's own .pth files.
    (own / "shared.pth").write_text(f"import site; site.addsitedir({str(shared)!r})\n")


main()
