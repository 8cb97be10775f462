"""``hivemind-core doctor``: what can be wrong with a hub. How checks are run and told is in
`hivemind_bus_client.doctor`. No file is changed, made or opened for writing, and no client is; docs/operating.md says
what others notice of it.
"""
