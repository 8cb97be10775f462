"""One hub under faults for as long as one wants: `make soak`, or `python -m soak_hub` with tests/ on the path.

Satellites talk in numbered messages through one hub process, which lives from the beginning to the end, while all that
it depends on fails and all kinds of peers misbehave. A ledger accounts for every message; memory and descriptors are
sampled. Faults that a hub does not outlive (`kill -9`, a disk that fails, a damaged database), and those of its clock,
happen meanwhile to hubs of their own: they are the tests tests/e2e/test_faults_*.py, again and again.

`--messages 1000000` goes by their number instead: faults in the first half, each at least once, and nothing but traffic
in the second, as quick as the satellites are answered. There memory must be flat: what it grows by with every thousand
messages, and how many objects each leaves behind, is reported and bounded.
"""
