"""`peeltap doctor`: whether the service can run, or does, and what to do where it does not.

finding       one answer: well, worth a look, or wrong, with its remedy
machine       privileges, kernel, clock, directories     ┐
network       the captured interface, its ports, the tap │
sensor        Suricata, its configuration, its rules     │ facts as plain values, and a pure
service       what the running service says of itself    │ function from them to findings
redis_server  Redis, and what waits in it                │
served        the page's token, addresses to listen on   ┘
look          finds the facts out; changes nothing; redis_look and served_look: theirs
examine       the whole examination

canary        one harmless connection across the bridge, followed to its event
frames        that connection's frames
witness       those who look on: at a sink's file, at the tap
cage          two ports of the bridge whose other ends are in a namespace that cannot stay
report        the findings for a person, or as JSON
"""
