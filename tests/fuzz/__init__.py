"""All that the tap reads is damaged by chance: never a traceback, never a hang, never a wrong row counted as right."""
