"""The plumbing that brings attackers here: namespaces, proxies, and the stage that sets them up."""
