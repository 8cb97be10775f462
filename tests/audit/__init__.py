"""What this project installs on somebody's machine: `make check`, or `python -m audit` with tests/ on the path.

For the satellite and each extra: everything that comes along is expected, fits what asks for it and has a licence that
lets people use it. Then the public advisories are asked, by pip-audit, whether anything of it is known to be unsafe.
"""
