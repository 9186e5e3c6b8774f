"""``make bench``: how fast the tap is, beside a plain singer-sdk tap and curl, in one run."""
