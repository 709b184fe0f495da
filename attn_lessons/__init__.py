"""attn-lessons: the small helper package behind the course on attention in convolutional networks.

One room for each thing:

``attention``  the mechanisms, one per file, and ``build_attention(name, channels)``
``models``     networks with slots that any mechanism fits into
``datasets``   GlyphWorld and image folders, as one uint8 tensor on the device
``training``   one readable loop, histories as CSV, comparisons over several seeds
``measure``    parameters, MACs, seconds, bytes
``check``      says of an exercise which idea is wrong, never the answer
``lesson``     what the notebooks themselves need: start, explore, quiz
``style``      the house style of every figure
"""

__version__ = "0.1.0"
