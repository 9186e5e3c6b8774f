"""One read session: its streams side by side, resumed at their offsets, complete or not done."""
