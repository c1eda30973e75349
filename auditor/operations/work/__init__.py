"""The service's side of a work item, from its claim to its end. Every function is one transaction, and is fenced by
the claim: LeaseLost means that the item is somebody else's by now, and nothing was changed."""
