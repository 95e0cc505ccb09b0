"""The plumbing that brings attackers here: namespaces, proxies, and the stage that sets them up.

namespaces, kernel   worlds of network namespaces that cannot outlive their maker

proxy     one epoll loop and what a proxied connection goes through in it
agent     accepts peers elsewhere, and hands them to gateway1
gateway   gateway1 and gateway2, the two ends of the proxied leg
snat      how a decoy gets to see the peer's address
"""
