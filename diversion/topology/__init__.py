"""What the network of a host is, found and drawn.

discover   this host: links in all named namespaces, neighbours, Docker, libvirt, Open vSwitch
declared   a topology file as the same picture, before it is applied, with the differences marked
graph      the picture itself: nodes, and what joins them
draw       the picture as a tree, as JSON, as Graphviz DOT
svg        the picture as SVG, laid out without Graphviz
"""
