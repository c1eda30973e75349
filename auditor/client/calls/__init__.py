"""Every call of the client, written once; see `client.steps`."""
