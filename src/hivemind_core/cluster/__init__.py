"""Several hubs that are one: their members, where each satellite is, what crosses (docs/clusters.md)."""
