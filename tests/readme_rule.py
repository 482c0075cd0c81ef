"""The README's rule of one's own, in a module such as a reader would put it in."""

import re
from pathlib import Path

TEXT = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
CODE = next(code for code in BLOCKS if "class Oja" in code)

exec(compile(CODE, "README.md", "exec"))
