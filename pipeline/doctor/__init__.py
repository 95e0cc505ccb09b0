"""`peeltap doctor`: whether the service can run, or does, and what to do where it does not.

finding   one answer: well, worth a look, or wrong, with its remedy
machine   privileges, kernel, clock, directories     ┐ facts as plain values, and a pure function
network   the captured interface, its ports, the tap │ from them to findings
sensor    Suricata, its configuration, its rules     │
service   what the running service says of itself    ┘
look      finds the facts out; changes nothing
examine   the whole examination

canary    one harmless connection across the bridge, followed to its event
frames    that connection's frames
witness   those who look on: at a sink's file, at the tap
cage      two ports of the bridge whose other ends are in a namespace that cannot stay
report    the findings for a person, or as JSON
"""
