"""attn-lessons: the small helper package behind the course on attention in convolutional networks.

One room for each thing:

``attention``  the mechanisms, one per file, and ``build_attention(name, channels)``
``models``     networks that take any mechanism, and ``attach``, which puts one into any network
``datasets``   GlyphWorld, CIFAR, Tiny-ImageNet and any image folder, as one uint8 tensor on the device
``training``   one readable loop, logs as CSV, checkpoints, comparisons over several seeds
``insight``    what a network looked at: feature maps, gates, Grad-CAM, and scores against the ground truth
``measure``    parameters, MACs, latency, memory
``check``      says of an exercise which idea is wrong, never the answer
``lesson``     what the notebooks themselves need: set-up, controls, claims, quiz
``style``      the house style of every figure

``python -m attn_lessons.train`` trains from the command line: one run, or every variant with every seed; and what was
trained predicts, is explained, reported and exported.
"""

__version__ = "0.1.0"
