"""What the live service costs: ``make bench-live``; whether it lasts: ``make soak``.

    frames      traffic as captures: fixed segment sizes, HTTP, many connections, floods, offloads
    sender      puts a capture on the wire, paced, at the price of one system call for 64 packets
    consumer    what stands at the tap: a ring as Suricata has one, emptied and forgotten
    worker      peeltap_core.Live from the bridge to the tap, in a process of its own
    peers       the plain dpkt and scapy scripts, reading the bridge and writing the tap
    wire        the namespaces, the bridge, the tap, and all of these as processes
    ids         Suricatas
    processor   who used how much of the processor
    parts       what is measured, one function a part
    soak        ten minutes at half of what Suricata bears

``bench/README.md`` says how CPU time is attributed.
"""
