"""A cluster under faults for as long as one wants: `make soak-cluster`, or `python -m soak` with tests/ on the path.

Three hubs and their Redis are on hosts of their own (network namespaces). Satellites talk and assistants answer in
numbered messages, while hubs and Redis are killed, paused and cut off. A ledger accounts for every message.
"""
