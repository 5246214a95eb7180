"""How long people wait for a rollout: from approval to first write, from abort to traffic."""
