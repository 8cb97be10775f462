"""``doctor``: checks everything that people get wrong, and says for each thing what it found and what to do.

A check is a function that is given a case and yields findings. Each is bounded in time, and none can spoil another.
`findings` is what they say, `running` how they are run, `report` how it looks; the hub's checks are in
`hivemind_core.doctor`.
"""
