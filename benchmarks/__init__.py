"""``make bench``: how fast the tap is, beside curl, plain singer-sdk taps and the official client, in one run."""
