"""Leaves the folder where the user stands off the path, from the first line that Python runs of this project.

That folder may be a stranger's, and a file `hashlib.py` in it would run in the place of Python's own: `python -m` puts
the folder first on the path. It stays where the project itself lies in it. A folder `lab_utils` there is found before
this line; only `python -P -m` passes it by.
"""

import os  # like sys always loaded already: any other import could be a trap
import sys

ROOT = os.path.realpath(f"{__file__}/../../..")  # the folder that holds the packages

# `-m` is what argv begins with until Python has found the module to run.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and os.path.realpath(sys.path[0]) != ROOT:
    del sys.path[0]
