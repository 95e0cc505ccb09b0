"""What needs a kernel with VLANs and VRFs, in a virtual machine with Debian's stock kernel.

machine    boots it, with this machine's files, read-only, and this checkout's Python
inside     its first process: runs the scenarios, each of which tells what it saw
vrf, vlan  the scenarios; `test_vrf` and `test_vlan`, outside, say what was to be seen
stage      the setup stage on a host in there; `talk`: conversations across it

It is emulated, at a tenth of the speed: one boot, and one Python that imports once, for all.
"""
