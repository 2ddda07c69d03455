"""What must hold, in folders that mirror nanokimi (core, text, cli) and lab_utils; e2e clicks in a browser."""
