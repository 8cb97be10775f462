"""``hivemind-core doctor``: what can be wrong with a hub. How checks are run and told is in
`hivemind_bus_client.doctor`. Nothing is changed, made or opened for writing.
"""
